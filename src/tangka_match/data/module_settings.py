"""Checks of what users set for a data module, before any data is opened."""

from collections.abc import Mapping, Sequence

from tangka_match.data.tokenizer import CaptionTokenizer
from tangka_match.errors import ConfigError


def check_loading(eval_batch_size: int, num_workers: int, device_features: bool | str) -> None:
    """Check how batches are read.

    Raises:
        ConfigError: If a setting is out of range.
    """
    rules = {
        f"data.eval_batch_size={eval_batch_size}; allowed: 1 and more images or captions": eval_batch_size >= 1,
        f"data.num_workers={num_workers}; allowed: 0 (read in the training process) and more": num_workers >= 0,
        f"data.device_features={device_features!r}; allowed: auto, true or false": (
            device_features in {True, False, "auto"}
        ),
    }
    for message, kept in rules.items():
        if not kept:
            raise ConfigError(f"{message}.")


def check_vocabulary_settings(tokenizer: CaptionTokenizer, vocabulary_path: str | None, min_count: int) -> None:
    """Make sure that a tokenizer with a vocabulary of its own is given no other one.

    Raises:
        ConfigError: If it is.
    """
    if tokenizer.vocabulary is None:
        return
    if vocabulary_path is not None:
        raise ConfigError(
            f"data.vocabulary_path={vocabulary_path!r}: data.tokenizer has the vocabulary of a pretrained model; "
            "leave vocabulary_path at null"
        )
    if min_count != 1:
        raise ConfigError(
            f"data.min_count={min_count}: data.tokenizer has the vocabulary of a pretrained model, all pieces of "
            "which are kept; leave min_count at 1"
        )


def check_expected_counts(counts: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, int]]:
    """The numbers that splits must have.

    Args:
        counts: ``{split: [images, captions]}``.

    Raises:
        ConfigError: If a split has not two of them.
    """
    for split, numbers in counts.items():
        if len(numbers) != 2:
            raise ConfigError(
                f"data.expected_counts: {split!r} has {list(numbers)}; allowed: two numbers, [images, captions]."
            )
    return {split: (numbers[0], numbers[1]) for split, numbers in counts.items()}
