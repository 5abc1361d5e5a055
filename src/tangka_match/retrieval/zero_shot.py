"""A Chinese-CLIP without fine-tuning as one of our checkpoints: to evaluate, to start from, to distil."""

from pathlib import Path
from typing import Any

from tangka_match.data.piece_tokenizer import PieceTokenizer
from tangka_match.models import ChineseCLIP
from tangka_match.retrieval.matcher_weights import as_checkpoint
from tangka_match.retrieval.passport import make_passport


def zero_shot_checkpoint(source: str, num_regions: int, feature_dim: int) -> dict[str, Any]:
    """What ``torch.save`` writes and ``tangka_match.load`` reads.

    Args:
        source: Folder of the Chinese-CLIP, or its name on the Hugging Face hub.
        num_regions: Regions an image that its vision tower wrote.
        feature_dim: Dimensions of the joint space.

    Raises:
        ConfigError: The model cannot be read, or has another joint space.
    """
    tokenizer = PieceTokenizer(source)
    vocabulary = tokenizer.vocabulary
    matcher = ChineseCLIP(
        vocab_size=len(vocabulary), feature_dim=feature_dim, num_regions=num_regions, text_model=source
    )
    passport = make_passport(
        name="chinese_clip_zero_shot",
        run_id=Path(source).name,
        model={"_target_": "tangka_match.models.ChineseCLIP", **matcher.checkpoint_arguments()},
        vocabulary=vocabulary.to_dict(),
        vocabulary_fingerprint=vocabulary.fingerprint(),
        tokenizer=tokenizer.settings(),
        max_tokens=tokenizer.max_tokens,
        num_regions=num_regions,
        feature_dim=feature_dim,
        data_fingerprint="",
    )
    return as_checkpoint(matcher.state_dict(), passport)
