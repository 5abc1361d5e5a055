"""Extract region features of pictures with a pretrained vision model.

    python -m tangka_match.extract encoder=MODEL images=FOLDER captions=TSV out=FOLDER

A Chinese-CLIP is also written as a checkpoint that scores the set zero-shot.
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

    encoder: Text
    images: Path
    captions: Path | None
    out: Path
    split: Text
    grid: int
    batch_size: Annotated[int, Field(ge=1)]


def extract(config: DictConfig) -> None:
    """Write the features of a split; for a Chinese-CLIP, also the zero-shot checkpoint if it does not exist yet.

    Raises:
        TangkaMatchError: On invalid settings, pictures, captions or model files.
    """
    import torch

    from tangka_match.models.chinese_clip import VisionTower
    from tangka_match.models.picture_towers import load_tower
    from tangka_match.retrieval.extraction import check_encoder, extract_split, record_encoder
    from tangka_match.retrieval.foreign import zero_shot_checkpoint

    settings = read_settings(config, ExtractionSettings, groups=("debug",))
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    tower = load_tower(settings.encoder, settings.grid).to(device)
    say(f"regions      {tower.num_regions} × {tower.feature_dim:,} per picture")
    check_encoder(settings.out, settings.encoder, tower)
    features = extract_split(
        tower,
        settings.images,
        settings.captions,
        settings.out,
        split=settings.split,
        batch_size=settings.batch_size,
    )
    record_encoder(settings.out, settings.encoder, tower)
    say(f"written to   {features}")
    if settings.captions is None:
        say(f"pair it with python -m tangka_match.prepare features={features} captions=<file> out=<new folder>")
    checkpoint = settings.out / "zero_shot.ckpt"
    if isinstance(tower, VisionTower) and not checkpoint.exists():
        content = zero_shot_checkpoint(settings.encoder, tower.num_regions, tower.feature_dim)
        with written_completely(checkpoint) as partial:
            torch.save(content, partial)
        say(f"zero-shot    {checkpoint}")


main = command("extract", extract)

if __name__ == "__main__":
    main()
