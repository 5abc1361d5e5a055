"""Folders of tiny pretrained models; tests that use them are skipped without transformers."""

from pathlib import Path

import pytest
import torch

SPECIALS = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]  # the order differs from ours
CHARACTERS = "绿度母右手持乌巴拉花结跏趺坐红黄白蓝佛在的中一左有与莲金山云下上着"
PIECES = [*SPECIALS, *CHARACTERS, "a", "##b"]
TEXT = {
    "vocab_size": len(PIECES) + 3,  # more vectors than pieces, as in some folders
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 60,
}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def write_bert(folder: Path) -> Path:
    """Write a BERT of two layers."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    return _write(folder, transformers.BertModel(transformers.BertConfig(**TEXT)))


def write_chinese_clip(folder: Path, projection_dim: int = 8) -> Path:
    """Write a Chinese-CLIP with two layers per tower, for pictures of 32 × 32 pixels in 16 patches."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    config = transformers.ChineseCLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=projection_dim)
    return _write(folder, transformers.ChineseCLIPModel(config))


def _write(folder: Path, model: "torch.nn.Module") -> Path:
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return folder
