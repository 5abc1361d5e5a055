"""Extract region features of pictures with a Chinese-CLIP vision tower.

    python -m tangka_match.extract clip=MODEL images=FOLDER captions=TSV out=FOLDER

Also writes the model as a checkpoint that scores the set zero-shot.
"""

from pathlib import Path
from typing import Annotated

from omegaconf import DictConfig
from pydantic import Field

from tangka_match.cli import command, read_settings, say
from tangka_match.files import written_completely
from tangka_match.settings import Settings, Text


class ExtractionSettings(Settings):
    """Settings of an extraction; see ``conf/extract.yaml``."""

    clip: Text
    images: Path
    captions: Path
    out: Path
    split: Text
    grid: int
    batch_size: Annotated[int, Field(ge=1)]


def extract(config: DictConfig) -> None:
    """Write the features of a split, and the zero-shot checkpoint if it does not exist yet.

    Raises:
        TangkaMatchError: On invalid settings, pictures, captions or model files.
    """
    import torch

    from tangka_match.models.chinese_clip import VisionTower
    from tangka_match.retrieval.extraction import extract_split, record_encoder
    from tangka_match.retrieval.foreign import zero_shot_checkpoint

    settings = read_settings(config, ExtractionSettings, groups=("debug",))
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    tower = VisionTower(settings.clip, settings.grid).to(device).eval()
    features = extract_split(
        tower,
        settings.images,
        settings.captions,
        settings.out,
        split=settings.split,
        batch_size=settings.batch_size,
    )
    record_encoder(settings.out, settings.clip, settings.grid)
    checkpoint = settings.out / "zero_shot.ckpt"
    if not checkpoint.exists():
        content = zero_shot_checkpoint(settings.clip, 1 + tower.grid**2, tower.feature_dim)
        with written_completely(checkpoint) as partial:
            torch.save(content, partial)
    say(f"written to   {features}, {checkpoint}")


main = command("extract", extract)

if __name__ == "__main__":
    main()
