import csv
from types import SimpleNamespace

import numpy as np
import torch

from tangka_match.metrics import retrieval_ranks
from tangka_match.retrieval.ranks_table import COLUMNS, write_ranks_table


def test_a_hand_worked_gallery(tmp_path):
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
