"""Pretrained word vectors in the text format of word2vec, fastText and Tencent AI Lab."""

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import rich
import torch
from rich.progress import Progress
from torch import Tensor

from tangka_match.data.vocabulary import CHARACTER_MARK
from tangka_match.errors import DataFormatError
from tangka_match.types import WordVectors, is_special

logger = logging.getLogger(__name__)
_FORM = "expected UTF-8 text, one 'word v1 ... vn' per line, after an optional first line 'words n'"


def read_word_vectors(path: str | Path, words: Sequence[str]) -> WordVectors:
    """Read the vectors of the words of a vocabulary, without keeping those of other words in memory.

    A word that is not in the file gets the mean of the vectors of its characters, if the file has any of them. If a
    word occurs twice, the first line is used. The numbers of words found are logged. A character of unknown words
    (母@@, see ``Vocabulary``) gets the vector of the character.

    Args:
        path: Text file, one ``word v1 ... vn`` per line, separated by single spaces; a first line of two integers is
            read as number of words and ``n``.
        words: Words of the vocabulary in the order of their ids; special tokens in angle brackets get no vector.

    Raises:
        DataFormatError: If the file cannot be read, has no word of the vocabulary, or the line of such a word does
            not have ``n`` finite numbers.
    """
    plain = [word for word in words if not is_special(word)]
    spelled = {word: word.removesuffix(CHARACTER_MARK) for word in plain}
    wanted = {part.encode() for text in spelled.values() for part in (text, *text)}
    try:
        found = _find(Path(path), wanted)
    except OSError as error:
        raise DataFormatError(
            f"{path}: cannot read the word vectors ({error.strerror}); check data.word_vectors_path."
        ) from error
    whole = sum(text.encode() in found for text in spelled.values())
    vectors = {word: vector for word, text in spelled.items() if (vector := _vector_of(text, found)) is not None}
    if not vectors:
        raise DataFormatError(
            f"{path}: has none of the vocabulary's {len(plain):,} words or of their characters; {_FORM}"
        )
    logger.info(
        "word vectors of %s: %s of %s words found, %s more from their characters, %s without a vector",
        path,
        f"{whole:,}",
        f"{len(plain):,}",
        f"{len(vectors) - whole:,}",
        f"{len(plain) - len(vectors):,}",
    )
    zeros = torch.zeros(len(next(iter(vectors.values()))))
    return WordVectors(
        torch.stack([vectors.get(word, zeros) for word in words]), torch.tensor([word in vectors for word in words])
    )


def _vector_of(word: str, found: dict[bytes, Tensor]) -> Tensor | None:
    if word.encode() in found:
        return found[word.encode()]
    characters = [found[character.encode()] for character in word if character.encode() in found]
    return torch.stack(characters).mean(dim=0) if characters else None


def _find(path: Path, wanted: set[bytes]) -> dict[bytes, Tensor]:
    found: dict[bytes, Tensor] = {}
    dim = 0
    for number, line in _lines(path):
        if number == 1:
            fields = line.split()
            dim = len(fields) - 1
            if dim < 1:
                raise DataFormatError(f"{path}, line 1: {_shown(line)}; {_FORM}")
            if dim == 1 and all(field.isdigit() for field in fields):
                dim = int(fields[1])
                continue
        word, _, numbers = line.partition(b" ")
        if word in wanted and word not in found:
            found[word] = _parse(numbers, dim, f"{path}, line {number:,}, word {word.decode()}")
    return found


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines, numbered from 1, with a progress bar over the bytes read."""
    hidden = not rich.get_console().is_terminal
    with path.open("rb") as file, Progress(transient=True, disable=hidden) as progress:
        bar = progress.add_task(f"reading {path.name}", total=path.stat().st_size)
        read = 0
        for number, line in enumerate(file, start=1):
            read += len(line)
            if number % 10_000 == 0:
                progress.update(bar, completed=read)
            yield number, line


def _parse(numbers: bytes, dim: int, place: str) -> Tensor:
    try:
        values = [float(value) for value in numbers.split()]
    except ValueError as error:
        raise DataFormatError(f"{place}: {error}; {_FORM}") from error
    if len(values) != dim:
        raise DataFormatError(f"{place}: {len(values)} numbers, but the first line has {dim}; {_FORM}")
    if not all(math.isfinite(value) for value in values):
        raise DataFormatError(f"{place}: not all numbers are finite; {_FORM}")
    return torch.tensor(values)


def _shown(line: bytes) -> str:
    return repr(line[:40].decode("utf-8", errors="replace"))
