import logging

import pytest
import torch

from tangka_match.data.word_vectors import read_word_vectors
from tangka_match.errors import DataFormatError

WORDS = ("<pad>", "<unk>", "白度母", "莲花", "宝剑", "<x")


def write(folder, text):
    path = folder / "vectors.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("header", ["", "4 2\n"], ids=["plain", "with a header"])
def test_vectors_of_words_of_characters_and_missing_ones(tmp_path, header, caplog):
    path = write(tmp_path, f"{header}莲花 1.5 -2e-1 \n其他 7 x\n白 1 3\r\n母 3 5\n<unk> 9 9\n莲花 8 8\n")
    with caplog.at_level(logging.INFO):
        found = read_word_vectors(path, WORDS)
    assert found.known.tolist() == [False, False, True, True, False, False]
    expected = [[0, 0], [0, 0], [2, 4], [1.5, -0.2], [0, 0], [0, 0]]
    torch.testing.assert_close(found.vectors, torch.tensor(expected))
    assert "1 of 4 words found, 1 more from their characters, 2 without a vector" in caplog.text


def test_characters_of_unknown_words_get_the_vector_of_the_character(tmp_path):
    path = write(tmp_path, "母 3 5\n@ 9 9\n")
    assert read_word_vectors(path, ("母@@", "白@@")).vectors.tolist() == [[3, 5], [0, 0]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("其他 1 2\n莲花 1\n", "line 2, word 莲花: 1 numbers, but the first line has 2"),
        ("3 2\n其他 1 2\n莲花 1 2 3\n", "line 3, word 莲花: 3 numbers, but the first line has 2"),
        ("莲花 1 2\n宝剑 1 zwei\n", "line 2, word 宝剑: .*b'zwei'; expected UTF-8 text"),
        ("莲花 1 nan\n", "line 1, word 莲花: not all numbers are finite"),
        ("其他 1 2\n", "none of the vocabulary's 4 words"),
        ("", "none of the vocabulary's 4 words"),
        (b"\xff\xfe\x00binary\n", "line 1: .*expected UTF-8 text"),
    ],
)
def test_invalid_files(tmp_path, text, reason):
    path = write(tmp_path, text)
    with pytest.raises(DataFormatError, match=reason) as error:
        read_word_vectors(path, WORDS)
    assert str(error.value).startswith(str(path))


def test_missing_file(tmp_path):
    with pytest.raises(DataFormatError, match=r"none\.txt: cannot read .*check data\.word_vectors_path"):
        read_word_vectors(tmp_path / "none.txt", WORDS)
