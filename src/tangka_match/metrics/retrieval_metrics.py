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
    """Everything that `summarise` reports, over one gallery or several.

    Every ``update`` is one whole gallery: a rank has a meaning only among all its candidates, so a gallery cannot come
    in batches. Several updates pool their queries, as the five folds of COCO-1K do. State is two lists of ranks, joined
    over processes by concatenation; where every process ranks the same gallery, recalls, median and mean stay what
    they are on one.

    torchmetrics' own retrieval metrics are not used: they take every item with a score <= 0 for irrelevant, which is
    wrong for cosines.

    Example:
        >>> metrics = RetrievalMetrics()
        >>> metrics.update(torch.tensor([[0.9, 0.1], [0.8, 0.4]]), torch.tensor([0, 1]))
        >>> values = metrics.compute()
        >>> values["i2t_r1"].item(), values["t2i_r1"].item(), values["mean_r1"].item()
        (50.0, 100.0, 75.0)
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True  # of the recalls and their sums; median and mean rank run the other way

    i2t: list[Tensor]
    t2i: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("i2t", default=[], dist_reduce_fx="cat")
        self.add_state("t2i", default=[], dist_reduce_fx="cat")

    def update(self, similarity: Float[Tensor, "I C"], caption_to_image: Int[Tensor, " C"]) -> None:
        """Rank one whole gallery.

        Args:
            similarity: Scores, (I, C): rows images, columns captions, higher = closer.
            caption_to_image: The row of every caption's image, (C,).

        Raises:
            ShapeError, DataFormatError, TrainingError: See `retrieval_ranks`.
        """
        ranks = retrieval_ranks(similarity, caption_to_image)
        self.i2t.append(ranks.i2t)
        self.t2i.append(ranks.t2i)

    def compute(self) -> dict[str, Float[Tensor, ""]]:
        """Summarise all galleries seen; keys and units as `summarise` has them.

        Raises:
            TrainingError: If there was no gallery.
        """
        if len(self.i2t) == 0:
            raise TrainingError("RetrievalMetrics.compute() before any update(): 0 galleries seen; rank one first")
        values = summarise(Ranks(dim_zero_cat(self.i2t), dim_zero_cat(self.t2i)))
        return {name: torch.tensor(value, device=self.device) for name, value in values.items()}
