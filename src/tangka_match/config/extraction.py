"""From a composed config to features of pictures."""

from pathlib import Path

import torch
from omegaconf import DictConfig

from tangka_match.errors import ConfigError
from tangka_match.models.chinese_clip import VisionTower
from tangka_match.retrieval.extraction import extract_split
from tangka_match.retrieval.foreign import zero_shot_checkpoint


def extract(config: DictConfig) -> list[Path]:
    """Write a split, and beside it, once, the model as a checkpoint that scores it zero-shot.

    Returns:
        The feature file and the checkpoint.

    Raises:
        TangkaMatchError: For whatever a user can mend.
    """
    if config.batch_size < 1:
        raise ConfigError(f"batch_size={config.batch_size}: give at least 1")
    out = Path(config.out)
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    tower = VisionTower(str(config.clip), int(config.grid)).to(device).eval()
    features = extract_split(
        tower,
        Path(config.images),
        Path(config.captions),
        out,
        split=str(config.split),
        batch_size=int(config.batch_size),
    )
    checkpoint = out / "zero_shot.ckpt"
    if not checkpoint.exists():
        content = zero_shot_checkpoint(str(config.clip), 1 + tower.grid**2, tower.feature_dim)
        partial = out / ".partial-zero_shot.ckpt"
        torch.save(content, partial)
        partial.replace(checkpoint)
    return [features, checkpoint]
