import numpy as np
import pytest
from PIL import Image

from helpers.precomp import write_precomp
from helpers.small_checkpoints import write_checkpoint
from tangka_match import load
from tangka_match.data.split import load_split

DUAL = {
    "_target_": "tangka_match.models.DualPath",
    "embed_dim": 8,
    "word_dim": 4,
    "lstm_dim": 4,
    "region_dim": 8,
    "num_heads": 2,
    "num_layers": 1,
    "hidden_dim": 8,
}
VSE = {"_target_": "tangka_match.models.VSE", "embed_dim": 8, "word_dim": 4, "lstm_dim": 4, "head_dim": 8} | {
    "pooling_dim": 4,
    "attention_dim": 4,
}
HUBS = {"_target_": "tangka_match.models.CCA", "embed_dim": 8, "codebook_size": 5, "num_hashes": 40, "hub_weight": 0.5}
MODELS = {"vse": VSE, "dual_path": DUAL, "hubs": HUBS}


@pytest.fixture(scope="session")
def small_set(tmp_path_factory):
    """Write twelve images with boxes and ids, one caption each; the first ten have thumbnails of different colours."""
    root = tmp_path_factory.mktemp("small")
    write_precomp(root, "val", images=12, regions=4, dim=8, ids="image", boxes=True)
    (root / "thumbnails").mkdir()
    for number in range(10):
        Image.fromarray(np.full((300, 200, 3), 20 * number, np.uint8)).save(root / f"thumbnails/dev-{number:04}.png")
    return load_split(root, "val")


@pytest.fixture(scope="session")
def small_matchers(small_set, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        name: load(write_checkpoint(folder / f"{name}.ckpt", list(small_set.captions), model=model))
        for name, model in MODELS.items()
    }
