import csv
import io

import numpy as np
import pytest
from rich.console import Console

from helpers.small_search import write_split
from tangka_match.retrieval.answer_files import SearchResult, inert, list_results, results_table, write_answers
from tangka_match.retrieval.nearest import Hits


def test_results_name_the_images_and_their_first_captions(tmp_path):
    split = write_split(tmp_path, images=6)
    (results,) = list_results(split, Hits(np.array([[4, 1]]), np.array([[0.5, 0.25]], np.float32)))
    assert results == [
        SearchResult("test-0004", 0.5, 1, split.captions[8]),
        SearchResult("test-0001", 0.25, 2, split.captions[2]),
    ]


@pytest.mark.parametrize("text", ["=1+1", "+86", "-1", "@x", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠x"])
def test_cells_that_begin_like_a_formula_are_made_inert(text):
    assert inert(text) == f"'{text}"


def test_csv_can_be_read_back(tmp_path):
    rows = [SearchResult("=a", -0.5, 1, '莲花, "红"\n新行'), SearchResult("b", -0.75, 2, "@b")]
    write_answers(tmp_path / "a.csv", ["-绿度母"], [rows])
    assert (tmp_path / "a.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        found = list(csv.reader(file))
    assert found == [
        ["query", "rank", "image_id", "score", "caption"],
        ["'-绿度母", "1", "'=a", "-0.500000", '莲花, "红"\n新行'],
        ["'-绿度母", "2", "b", "-0.750000", "'@b"],
    ]


def test_table_shows_gaps_and_no_markup():
    rows = [SearchResult("[bold]a[/bold]", 0.5, 1, "[red]x"), SearchResult("b", 0.375, 2, "y")]
    console = Console(file=io.StringIO(), width=100)
    console.print(results_table("[link=http://evil.example]莲花", rows))
    text = console.file.getvalue()
    assert "0.1250" in text
    assert all(part in text for part in ("[bold]a[/bold]", "[red]x", "[link=http://evil.example]莲花"))
