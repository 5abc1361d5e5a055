"""The table and the page of pairs."""

import csv
import io
import re
from importlib.resources import files

import numpy as np
import pytest

from helpers.precomp import write_precomp
from tangka_match.analysis.diagnosis.pairs import write
from tangka_match.analysis.diagnosis.pairs.suspects import DUPLICATE, REASONS, SWAPPED, Rival, Suspect, SuspectList
from tangka_match.analysis.diagnosis.pairs.table import COLUMNS, pairs_csv
from tangka_match.analysis.diagnosis.pairs.write import choose_rows, page_data
from tangka_match.analysis.script_bundle import bundle
from tangka_match.data.exclude import Excluded, read_excluded
from tangka_match.data.split import load_split

SCRIPTS = files("tangka_match.analysis").joinpath("diagnosis", "pairs")


@pytest.fixture
def pool(tmp_path):
    """Four images, the second with two captions; the first caption begins with an equals sign."""
    captions = ["=1+1", "狗在跑", "狗在草地上", "@猫", "-"]
    write_precomp(tmp_path, "train", images=4, captions_per_image=[1, 2, 1, 1], ids="caption", captions=captions)
    return load_split(tmp_path, "train")


def suspect(pool, caption, *reasons, probability=0.5, duplicates=()):
    image = int(pool.caption_to_image[caption])
    number = caption - int(np.searchsorted(pool.caption_to_image, image)) + 1
    name = Excluded(pool.image_ids[image], number)
    rivals = (Rival(2, 3), Rival(1, 1))
    return Suspect(image, caption, name, 1, 4, 3, 2, probability, reasons, *rivals, duplicates)


def test_table_has_a_row_per_pair(pool):
    pairs = [suspect(pool, 2, SWAPPED, DUPLICATE, duplicates=(2, 3)), suspect(pool, 0, probability=0.0004)]
    first, second = csv.DictReader(io.StringIO(pairs_csv(pairs, pool)))
    assert first == {
        "image": "train-0001",
        "caption_number": "2",
        "caption": "狗在草地上",
        "reason": "probably swapped; duplicate",
        "probability": "0.500",
        "i2t_rank": "3",
        "t2i_rank": "2",
        "gallery": "4",
        "fold": "1",
        "better_caption_image": "train-0002",
        "better_caption": "'@猫",
        "better_image": "train-0001",
        "better_image_caption": "狗在跑",
        "duplicates": "train-0002; train-0003",
    }
    assert (second["caption"], second["reason"], second["probability"]) == ("'=1+1", "", "0.000")
    assert tuple(first) == COLUMNS


def test_page_has_pairs_with_a_reason_first_and_some_others(pool, monkeypatch):
    pairs = [suspect(pool, caption, *(() if caption in (1, 3) else (SWAPPED,))) for caption in range(5)]
    assert choose_rows(pairs) == pairs
    monkeypatch.setattr(write, "WITHOUT_REASON", 1)
    assert choose_rows(pairs) == [pairs[0], pairs[1], pairs[2], pairs[4]]
    monkeypatch.setattr(write, "MAX_ROWS", 2)
    assert choose_rows(pairs) == [pairs[0], pairs[1], pairs[2]]


def test_lines_of_the_page_are_what_data_exclude_reads(pool, tmp_path):
    pairs = [suspect(pool, caption, SWAPPED) for caption in (0, 2, 3)]
    before = {Excluded("train-0003", 1), Excluded("train-0002", None)}
    data = page_data(SuspectList(pairs, 0.1, True), pool, before)
    lines = [row["line"] for row in data["rows"]]
    assert lines == ["train-0000", "train-0001\t2", "train-0002"]
    assert data["kept"] == ["train-0003"]
    assert [row["struck"] for row in data["rows"]] == [False, False, True]
    (tmp_path / "exclude.txt").write_text("\n".join([*lines, *data["kept"]]) + "\n", "utf-8")
    names = {pair.name for pair in pairs}
    read = read_excluded(tmp_path / "exclude.txt", pool)
    assert {(entry.image, entry.caption or 1) for entry in read} == names | {("train-0003", 1)}


def test_each_text_is_translated_and_used():
    text = SCRIPTS.joinpath("words.js").read_text("utf-8")
    table = text[text.index("const WORDS") : text.index("};")]
    words = dict(re.findall(r'^  "?([\w ]+)"?: \[\s*(".*?",?\s*".*?"),?\s*\]', table, re.MULTILINE | re.DOTALL))
    assert len(words) > 25
    assert set(REASONS) <= set(words)
    used = set(re.findall(r'"(\w+)"', SCRIPTS.joinpath("pairs.js").read_text("utf-8")))
    assert set(words) - used - set(REASONS) == set()
    assert [name for name, pair in words.items() if not re.search("[一-鿿]", pair)] == []


def test_script_is_one_bundle():
    script = bundle("diagnosis/pairs/pairs")
    assert not re.search(r"^(import|export) ", script, re.MULTILINE)
