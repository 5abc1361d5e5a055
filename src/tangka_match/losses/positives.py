"""Which pairs of a mini-batch must never be treated as negatives."""

from jaxtyping import Bool, Int
from torch import Tensor

from tangka_match.errors import ShapeError


def positive_mask(image_index: Int[Tensor, " B"], text_group: Int[Tensor, " B"]) -> Bool[Tensor, "B B"]:
    """Mark the pairs that belong together: the same image, or the same caption text.

    Another caption of the same image describes it as well as its own one, and the same text under another image fits
    that image too; pushing either away teaches the model something false.

    Args:
        image_index: The image of every row, (B,).
        text_group: The caption text of every row, (B,): equal numbers mean equal texts.

    Returns:
        (B, B), symmetric, ``True`` on the diagonal: row ``b`` and column ``c`` share the image or the text.

    Raises:
        ShapeError: If the two differ in length.

    Example:
        Rows 0 and 1 show one image; rows 1 and 2 carry one text.

        >>> import torch
        >>> positive_mask(torch.tensor([4, 4, 9]), torch.tensor([0, 1, 1])).int()
        tensor([[1, 1, 0],
                [1, 1, 1],
                [0, 1, 1]], dtype=torch.int32)
    """
    if image_index.shape != text_group.shape:
        raise ShapeError(
            f"image_index is {tuple(image_index.shape)} but text_group is {tuple(text_group.shape)}; "
            "both hold one number a pair of the batch"
        )
    same_image = image_index[:, None] == image_index[None, :]
    same_text = text_group[:, None] == text_group[None, :]
    return same_image | same_text
