import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tangka_match.errors import DataFormatError
from tangka_match.metrics import retrieval_ranks
from tangka_match.retrieval.evaluation_files import COLUMNS, read_ranks_table, write_ranks_table


def test_write_ranks_table_matches_a_hand_worked_gallery(tmp_path):
    """Image a owns captions 0 and 2, image b caption 1."""
    split = SimpleNamespace(caption_to_image=np.array([0, 1, 0]), image_ids=("a", "b"), num_images=2)
    similarity = torch.tensor([[0.25, 0.75, 0.5], [0.125, 0.375, 0.0]])
    ranks = retrieval_ranks(similarity, torch.tensor([0, 1, 0]))
    write_ranks_table(tmp_path / "ranks.csv", ranks, similarity, split)
    with (tmp_path / "ranks.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert rows == [
        ["i2t", "a", "a", "2", "1", "0.5", "0.75"],
        ["i2t", "b", "b", "1", "0", "0.375", "0.125"],
        ["t2i", "0", "a", "1", "b", "0.25", "0.125"],
        ["t2i", "1", "b", "2", "a", "0.375", "0.75"],
        ["t2i", "2", "a", "1", "b", "0.5", "0.0"],
    ]


def table(tmp_path, *rows, header="direction,query,image,rank"):
    path = tmp_path / "ranks.csv"
    path.write_text("\n".join((header, *rows)) + "\n", "utf-8")
    return path


TWO_IMAGES = ("i2t,a,a,2", "i2t,b,b,1", "t2i,0,a,1", "t2i,1,b,3")


class TestReading:
    def test_column_order_and_extra_columns_do_not_matter(self, tmp_path):
        rows = ("2,i2t,0.5,a,a", "1,i2t,0.5,b,b", "1,t2i,0.5,0,a", "3,t2i,0.5,1,b")
        path = table(tmp_path, *rows, header="rank,direction,score_correct,query,image")
        assert list(read_ranks_table(path).items()) == [
            (("i2t", "a", "a"), 2),
            (("i2t", "b", "b"), 1),
            (("t2i", "0", "a"), 1),
            (("t2i", "1", "b"), 3),
        ]

    def test_written_table_is_read_back(self, tmp_path):
        split = SimpleNamespace(caption_to_image=np.array([0, 1, 1]), image_ids=("唐卡, 一", "b"), num_images=2)
        similarity = torch.tensor([[0.25, 0.75, 0.5], [0.125, 0.375, 0.0]])
        ranks = retrieval_ranks(similarity, torch.tensor([0, 1, 1]))
        write_ranks_table(tmp_path / "ranks.csv", ranks, similarity, split)
        read = read_ranks_table(tmp_path / "ranks.csv")
        assert list(read.values()) == [*ranks.i2t.tolist(), *ranks.t2i.tolist()]
        assert [query.image for query in read] == ["唐卡, 一", "b", "唐卡, 一", "b", "b"]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("i2t,b,b,0", r"line 3 has rank '0'; allowed: whole numbers from 1"),
            ("i2t,b,b,1.0", r"line 3 has rank '1\.0'"),
            ("i2t,b,b", r"line 3 has rank ''"),
            ("i2i,b,b,1", r"line 3 has direction 'i2i'; allowed: i2t and t2i"),
            ("i2t,a,a,1", r"line 3 repeats the i2t query 'a'"),
        ],
    )
    def test_malformed_line_is_named(self, tmp_path, line, message):
        path = table(tmp_path, TWO_IMAGES[0], line, *TWO_IMAGES[2:])
        with pytest.raises(DataFormatError, match=message):
            read_ranks_table(path)

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            (TWO_IMAGES[:3], r"image 'b' has 1 i2t and 0 t2i queries"),
            (TWO_IMAGES[1:], r"image 'a' has 0 i2t and 1 t2i queries"),
            ((*TWO_IMAGES, "i2t,c,a,1"), r"image 'a' has 2 i2t and 1 t2i queries; allowed: one i2t query"),
            (TWO_IMAGES[::2], r"holds 1 image queries; comparing models needs at least 2"),
            ((), r"holds 0 image queries"),
        ],
    )
    def test_images_with_missing_or_extra_queries_are_an_error(self, tmp_path, rows, message):
        with pytest.raises(DataFormatError, match=message):
            read_ranks_table(table(tmp_path, *rows))

    def test_missing_column_is_an_error(self, tmp_path):
        with pytest.raises(DataFormatError, match=r"ranks\.csv: line 1 has no column 'direction'"):
            read_ranks_table(table(tmp_path, "0,1", header="step,epoch"))

    @pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00"])
    def test_unreadable_content_is_an_error(self, tmp_path, content):
        (tmp_path / "ranks.csv").write_bytes(content)
        with pytest.raises(DataFormatError, match=r"ranks\.csv: (line 1 has no column|cannot be read)"):
            read_ranks_table(tmp_path / "ranks.csv")

    def test_missing_file_is_an_error(self, tmp_path):
        with pytest.raises(DataFormatError, match=r"ranks\.csv: cannot be read .*; write it again with"):
            read_ranks_table(tmp_path / "ranks.csv")
