"""`RetrievalMetrics`, the metrics of this package as a torchmetrics ``Metric``."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from tangka_match.errors import TrainingError
from tangka_match.metrics.ranks import Ranks, retrieval_ranks
from tangka_match.metrics.recall import summarise


class RetrievalMetrics(Metric):
    """All metrics of `summarise`, over one or several galleries.

    Each ``update`` takes a whole gallery, because a rank depends on all candidates. Several updates pool their queries,
    as in the five folds of COCO-1K. The state is the ranks of all queries, concatenated over processes; if each process
    ranks the same gallery, the metrics are those of a single process.

    torchmetrics' own retrieval metrics treat items with a score <= 0 as irrelevant, which is wrong for cosines.

    Example:
        >>> metrics = RetrievalMetrics()
        >>> metrics.update(torch.tensor([[0.9, 0.1], [0.8, 0.4]]), torch.tensor([0, 1]))
        >>> values = metrics.compute()
        >>> values["i2t_r1"].item(), values["t2i_r1"].item(), values["mean_r1"].item()
        (50.0, 100.0, 75.0)
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True  # recalls and their sums; for median and mean rank, lower is better

    i2t: list[Tensor]
    t2i: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("i2t", default=[], dist_reduce_fx="cat")
        self.add_state("t2i", default=[], dist_reduce_fx="cat")

    def update(self, similarity: Float[Tensor, "I C"], caption_to_image: Int[Tensor, " C"]) -> None:
        """Rank a whole gallery.

        Args:
            similarity: Scores, (I, C): rows images, columns captions, higher = closer.
            caption_to_image: Image row of each caption, (C,).

        Raises:
            ShapeError, DataFormatError, TrainingError: See `retrieval_ranks`.
        """
        ranks = retrieval_ranks(similarity, caption_to_image)
        # NCCL synchronises tensors on the GPU only, while a large score matrix is on the CPU.
        self.i2t.append(ranks.i2t.to(self.device))
        self.t2i.append(ranks.t2i.to(self.device))

    def compute(self) -> dict[str, Float[Tensor, ""]]:
        """Summarise all galleries; names and units as in `summarise`.

        Raises:
            TrainingError: If there was no gallery.
        """
        if len(self.i2t) == 0:
            raise TrainingError("RetrievalMetrics.compute() before any update(): 0 galleries seen; rank one first")
        values = summarise(Ranks(dim_zero_cat(self.i2t).cpu(), dim_zero_cat(self.t2i).cpu()))
        return {name: torch.tensor(value, device=self.device) for name, value in values.items()}
