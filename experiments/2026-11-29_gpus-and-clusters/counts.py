"""Waits for the device and kernels of a training step, for every model of conf/model.

    PYTHONPATH=src:tests python experiments/2026-11-29_gpus-and-clusters/counts.py

Counted on a CPU with InfoNCE: 128 pairs, 36 regions, ten lengths of captions; forward, backward, and clipping, without
the optimizer. Widths are 1/16 of the published ones, and so are blocks; BERT and Chinese-CLIP have 12 layers. Another
commit is counted with PYTHONPATH=<its worktree>/src:tests.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

import tangka_match
from helpers import tiny_pretrained
from helpers.kernels import FEATURES, NARROWER, REGIONS, VOCABULARY, Kernels, kernels_of_step
from tangka_match.losses import InfoNCELoss

CONF = Path(tangka_match.__file__).parents[2] / "conf"
PROJECTION = 8
"""Dimensions of the joint space of the tiny Chinese-CLIP."""


def main() -> None:
    """Print one line per model."""
    tiny_pretrained.TEXT["num_hidden_layers"] = 12
    with tempfile.TemporaryDirectory() as root:
        folders = {
            "chinese_clip": tiny_pretrained.write_chinese_clip(Path(root, "clip"), PROJECTION),
            "": tiny_pretrained.write_bert(Path(root, "bert")),
        }
        print("model                     kernels   waits  kernels of recurrent layers on a CPU")
        for path in sorted((CONF / "model").glob("*.yaml")):
            found = count(path.stem, folders.get(path.stem, folders[""]))
            waits = ", ".join(f"{times} {name}" for name, times in found.waits.items())
            print(
                f"{path.stem:24} {found.counts.total():8,} {found.waits.total():7} "
                f"{found.in_recurrent_layers:8,}  {waits}",
                flush=True,
            )


def count(name: str, text_model: Path) -> Kernels:
    """Count a step of the model of a config."""
    with initialize_config_dir(str(CONF), version_base=None):
        settings: dict[str, Any] = OmegaConf.to_container(compose("config", [f"model={name}"]).model)
    for key, value in settings.items():
        if key.endswith("_dim") and value:
            settings[key] = max(1, value // NARROWER)
    pretrained = "text_model" in settings
    if pretrained:
        settings["text_model"] = str(text_model)
    torch.manual_seed(0)
    matcher = instantiate(
        settings,
        vocab_size=len(tiny_pretrained.PIECES) if pretrained else VOCABULARY,
        feature_dim=PROJECTION if name == "chinese_clip" else FEATURES,
        num_regions=REGIONS,
    )
    return kernels_of_step(matcher, InfoNCELoss())


if __name__ == "__main__":
    main()
