"""Range checks of the data settings, made before any data is opened."""

from collections.abc import Mapping, Sequence

from tangka_match.errors import ConfigError


def check_rules(rules: Mapping[str, bool]) -> None:
    """Raise an error for the first rule that is broken.

    Args:
        rules: Whether each rule holds, by the error message (without its full stop).

    Raises:
        ConfigError: If a rule does not hold.

    >>> check_rules({"data.batch_size=4 must be >= 1": True})
    """
    for message, holds in rules.items():
        if not holds:
            raise ConfigError(f"{message}.")


def check_loading(
    eval_batch_size: int, num_workers: int | str, pin_memory: bool | str, device_features: bool | str
) -> None:
    """Check how batches are loaded.

    Raises:
        ConfigError: If a setting is out of range.
    """
    check_rules(
        {
            f"data.eval_batch_size={eval_batch_size} must be >= 1 (images or captions)": eval_batch_size >= 1,
            f"data.num_workers={num_workers} must be auto or >= 0; 0 loads in the training process": (
                num_workers == "auto" or (isinstance(num_workers, int) and num_workers >= 0)
            ),
            f"data.pin_memory={pin_memory!r} must be auto, true or false": pin_memory in {True, False, "auto"},
            f"data.device_features={device_features!r} must be auto, true or false": (
                device_features in {True, False, "auto"}
            ),
        }
    )


def check_vocabulary_settings(has_own_vocabulary: bool, vocabulary_path: str | None, min_count: int) -> None:
    """Check that no vocabulary settings are given for a tokenizer that has its own vocabulary.

    Args:
        has_own_vocabulary: Whether the tokenizer comes with a vocabulary.
        vocabulary_path: Setting ``data.vocabulary_path``.
        min_count: Setting ``data.min_count``.

    Raises:
        ConfigError: If both are given.
    """
    if not has_own_vocabulary:
        return
    reason = "data.tokenizer has the vocabulary of a pretrained model"
    check_rules(
        {
            f"data.vocabulary_path={vocabulary_path!r}: {reason}; set data.vocabulary_path=null": (
                vocabulary_path is None
            ),
            f"data.min_count={min_count}: {reason}, which keeps all its tokens; set data.min_count=1": min_count == 1,
        }
    )


def check_expected_counts(counts: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, int]]:
    """Return the expected numbers of images and captions of each split.

    Args:
        counts: ``{split: [images, captions]}``.

    Raises:
        ConfigError: If a split does not have exactly two numbers.
    """
    for split, numbers in counts.items():
        if len(numbers) != 2:
            raise ConfigError(f"data.expected_counts.{split}={list(numbers)} must be two numbers: [images, captions].")
    return {split: (numbers[0], numbers[1]) for split, numbers in counts.items()}


def check_train_share(share: float) -> None:
    """Check the share of the training images to train on.

    Raises:
        ConfigError: If it is not in (0, 1].
    """
    check_rules({f"data.train_share={share} must be in (0, 1]; 1 trains on all images": 0 < share <= 1})


def check_sampling(
    *,
    batch_size: int,
    seed: int,
    initial_competence: float,
    competence_until: float,
    hard_batches: float,
    num_extra_sets: int,
) -> None:
    """Check the settings of the batch sampler.

    Args:
        batch_size: Pairs per batch on each process.
        seed: Seed of the run.
        initial_competence: Share of the pairs that the first epoch draws from.
        competence_until: Share of all epochs after which all pairs are drawn from.
        hard_batches: Share of a batch that consists of hard negatives.
        num_extra_sets: Number of data sets in ``data.mix``.

    Raises:
        ConfigError: If a setting is out of range, or two settings exclude each other.
    """
    hard, competence = f"data.hard_batches={hard_batches}", f"data.initial_competence={initial_competence}"
    check_rules(
        {
            f"data.batch_size={batch_size} must be >= 1 (pairs per process)": batch_size >= 1,
            f"seed={seed} must be >= 0": seed >= 0,
            f"{competence} must be in (0, 1]; 1 draws from all pairs": 0 < initial_competence <= 1,
            f"data.competence_until={competence_until} must be in (0, 1] (share of all epochs)": (
                0 < competence_until <= 1
            ),
            f"{hard} must be in [0, 1); 0 shuffles all pairs": 0 <= hard_batches < 1,
            f"{hard} and {competence} cannot be combined; set data.hard_batches=0 or data.initial_competence=1": (
                hard_batches == 0 or initial_competence == 1
            ),
            f"{hard} and data.mix with {num_extra_sets} set(s) cannot be combined; set data.hard_batches=0 or "
            "data.mix=[]": hard_batches == 0 or num_extra_sets == 0,
        }
    )
