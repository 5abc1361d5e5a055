import numpy as np
from PIL import Image

from helpers.precomp import write_precomp
from tangka_match.data.split import load_split
from tangka_match.retrieval.answers import Answer
from tangka_match.retrieval.examples import Example, Examples
from tangka_match.training.records.wandb_tables import examples_tables

EXAMPLES = Examples(
    i2t=[Example(1, 2, (Answer(0, 0.75, False), Answer(1, 0.5, True)))],
    t2i=[Example(0, 1, (Answer(0, 0.75, True), Answer(2, 0.5, False)))],
)


def split_of(root):
    write_precomp(root, "dev", images=3, ids="image")
    return load_split(root, "val")


def test_without_thumbnails_a_table_has_words_only(tmp_path):
    split = split_of(tmp_path)
    tables = examples_tables(EXAMPLES, split)
    assert tables["examples/i2t"].columns == ["query", "rank", "answer 1", "answer 2"]
    assert tables["examples/i2t"].data == [
        [split.image_ids[1], 2, f"✗ {split.captions[0]} (0.750)", f"✓ {split.captions[1]} (0.500)"]
    ]
    assert tables["examples/t2i"].data == [
        [split.captions[0], 1, f"✓ {split.image_ids[0]} (0.750)", f"✗ {split.image_ids[2]} (0.500)"]
    ]


def test_a_picture_stands_beside_its_image_brought_down_to_size(tmp_path):
    split = split_of(tmp_path)
    folder = tmp_path / "thumbnails"
    folder.mkdir()
    Image.fromarray(np.zeros((400, 800, 4), np.uint8)).save(folder / f"{split.image_ids[0]}.png")
    (folder / f"{split.image_ids[2]}.jpg").write_bytes(b"not a picture")
    tables = examples_tables(EXAMPLES, split)
    assert tables["examples/t2i"].columns[-2:] == ["picture 1", "picture 2"]
    picture, damaged = tables["examples/t2i"].data[0][-2:]
    assert picture.image.size == (256, 128)
    assert damaged is None
    assert tables["examples/i2t"].columns == ["query", "rank", "answer 1", "answer 2"]
