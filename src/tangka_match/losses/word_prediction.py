"""Word prediction: an auxiliary task that names the words of the caption from the image alone."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.errors import ConfigError
from tangka_match.losses.base import ContextualLoss, LossContext, LossInputs, LossTerms
from tangka_match.losses.components import check_pairs, check_range, pooled_embeddings, required_context
from tangka_match.ops import masked_mean


def word_prediction_loss(
    logits: Float[Tensor, "B W"], token_ids: Int[Tensor, "B T"], token_mask: Bool[Tensor, "B T"]
) -> Float[Tensor, ""]:
    r"""Compute the cross-entropy of words, :math:`-\frac{1}{B} \sum_b \frac{1}{|C_b|} \sum_{w \in C_b} \log p_b(w)`.

    :math:`p_b` is the softmax of row b, and :math:`C_b` the words of caption b. Frequent words weigh most, because they
    occur most.

    After the multi-class logistic loss of Joulin et al., "Learning Visual Features from Large Weakly Supervised Data",
    arXiv:1511.02251.

    Args:
        logits: Scores of W words for each image.
        token_ids: Words of the caption of each image, in [0, W).
        token_mask: ``True`` where a word counts; a caption without any adds nothing.

    Example:
        >>> word_prediction_loss(torch.zeros(1, 4), torch.tensor([[1, 2]]), torch.tensor([[True, True]]))  # log 4
        tensor(1.3863)
    """
    return -masked_mean(logits.log_softmax(dim=1).gather(1, token_ids)[..., None], token_mask).mean()


class WordPredictionLoss(ContextualLoss):
    """Cross-entropy of a linear prediction of the caption's words from the pooled image embedding.

    The first and the last token of a caption, its start and end, do not count. The task gives the image encoder a
    target for every word, where a loss on scores only has one for the caption as a whole.

    Requirements:
        A matcher with pooled embeddings of ``embed_dim`` dimensions.

    Recommendations:
        Use it next to a loss on scores (``loss=blend``): the text encoder gets no gradient from it.

    Args:
        embed_dim: Dimension of the model's pooled embeddings.
        num_words: Number of outputs; a word predicts the output of its id modulo this number, so that some share one if
            the vocabulary is larger.

    Raises:
        ConfigError: If a setting is out of range, or, when called, if the model has no pooled embeddings or they have
            another dimension.
    """

    needs_pooled = True
    reads_scores = False

    def __init__(self, *, embed_dim: int, num_words: int = 8192) -> None:
        super().__init__()
        check_range("embed_dim", embed_dim, 1.0, float("inf"), "it is the dimension of the model's pooled embeddings")
        check_range("num_words", num_words, 2.0, 10_000_000.0, "it is a number of words")
        self.head = nn.Linear(embed_dim, num_words)
        nn.init.normal_(self.head.weight)  # for inputs of norm 1, the logits begin with a deviation of about 1
        nn.init.zeros_(self.head.bias)

    def forward(self, inputs: LossInputs) -> LossTerms:
        """Compute the loss of a batch; reads images and captions in the context, not the scores."""
        check_pairs(inputs.similarity, inputs.positives)
        context = required_context(self, inputs)
        images, _ = pooled_embeddings(self, context.images, context.texts)
        if images.shape[1] != self.head.in_features:
            raise ConfigError(
                f"loss WordPredictionLoss: embed_dim is {self.head.in_features}, but this model's pooled embeddings "
                f"have {images.shape[1]} dimensions; set it to {images.shape[1]}"
            )
        words, mask = self._words(context)
        total = word_prediction_loss(self.head(images).float(), words, mask)
        return LossTerms(total, {"word_prediction": total.detach()}, {})

    def collapse_value(self, inputs: LossInputs) -> float:
        """Return the loss of equal embeddings at best: the entropy of the words of the batch."""
        words, mask = self._words(required_context(self, inputs))
        weights = (mask / mask.sum(dim=1, keepdim=True).clamp(min=1)).double() / len(mask)
        targets = weights.new_zeros(self.head.out_features).index_add_(0, words.flatten(), weights.flatten())
        return float(-torch.special.xlogy(targets, targets / targets.sum()).sum())

    def _words(self, context: LossContext) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"]]:
        """Return the output of every word, and a mask of the words without the start and the end of the caption."""
        inner = context.token_mask & context.token_mask.roll(-1, dims=1)
        inner[:, 0] = inner[:, -1] = False
        return context.token_ids % self.head.out_features, inner
