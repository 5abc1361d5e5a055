"""Frequencies of the Thangka terms, computed from one rule.

    PYTHONPATH=src:tests python -m helpers.term_frequencies

writes them to ``resources/thangka_terms.txt``; run it after changing the terms or ``helpers.term_contexts``.

jieba prefers 菩萨坐|在 to 菩萨|坐在 if f(菩萨坐) f(在) > f(菩萨) f(坐在). 在 is so frequent that 菩萨坐 must be rare to
leave its neighbour whole, but it must be more frequent than its parts together to be whole itself. For each term:

1. The usual frequency is 100 for two characters, 300 for three, 500 for more, or jieba's own if that is higher.
2. The floor is the lowest frequency at which the term is one token in the standard contexts. A term whose usual
   frequency is below its floor gets twice the floor, because a common word overlaps it: 以上 competes with 上师.
3. The ceiling is the highest frequency, up to the usual one, that breaks no more boundaries to neighbours that share
   characters with the term than the floor does.
4. A term whose ceiling is the usual frequency gets it. Otherwise it gets the geometric mean of floor and ceiling, which
   is as far from either error in sentences that are not among the contexts.

Shorter terms come first, because the frequency of a term depends on those it contains.
"""

import re
from collections.abc import Callable, Sequence
from math import isqrt
from pathlib import Path

import tangka_match.data
from helpers.term_contexts import CONTEXTS, Pair, has_boundary, keeps_neighbour, overlaps
from tangka_match.data.segmentation import _load_jieba, domain_terms

PATH = Path(tangka_match.data.__file__).parent / "resources" / "thangka_terms.txt"
HIGHEST = 1_000_000


class Lexicon:
    """jieba's dictionary with Thangka terms whose frequencies can be set."""

    def __init__(self, words: Sequence[str]) -> None:
        plain = _load_jieba([])
        self.usual = {word: max({2: 100, 3: 300}.get(len(word), 500), plain.FREQ.get(word, 0)) for word in words}
        self._jieba = _load_jieba([])
        for word in words:
            self._jieba.add_word(word, self.usual[word])
            self._jieba.total -= plain.FREQ.get(word, 0)
        self._cuts = [lambda text, hmm=hmm: list(self._jieba.cut(text, HMM=hmm)) for hmm in (True, False)]
        self._plain = lambda text: list(plain.cut(text))

    def is_word(self, text: str) -> bool:
        return len(text) > 1 and self._jieba.FREQ.get(text, 0) > 0

    def frequency(self, word: str) -> int:
        return self._jieba.FREQ[word]

    def set(self, word: str, frequency: int) -> None:
        self._jieba.total += frequency - self._jieba.FREQ[word]
        self._jieba.FREQ[word] = frequency

    def overlapping(self, word: str) -> list[Pair]:
        """Return the neighbours that share characters with a term, if plain jieba leaves them whole."""
        return [
            pair
            for pair in overlaps(word, self.is_word)
            if pair.left + pair.right not in self.usual and keeps_neighbour(self._plain, pair)
        ]

    def is_whole(self, word: str, frequency: int) -> bool:
        self.set(word, frequency)
        return all(word in cut(context.format(word)) for context in CONTEXTS for cut in self._cuts)

    def broken(self, word: str, frequency: int, pairs: Sequence[Pair]) -> int:
        self.set(word, frequency)
        return sum(not has_boundary(cut, pair) for pair in pairs for cut in self._cuts)


def lowest(is_enough: Callable[[int], bool], highest: int) -> int:
    """Return the lowest positive number that is enough, by bisection; ``highest`` must be enough."""
    low = 0
    while highest - low > 1:
        middle = (low + highest) // 2
        low, highest = (low, middle) if is_enough(middle) else (middle, highest)
    return highest


def choose(lexicon: Lexicon, word: str) -> int:
    """Return the frequency of a term by the rule above."""
    usual = lexicon.usual[word]
    if not lexicon.is_whole(word, usual):
        return 2 * lowest(lambda frequency: lexicon.is_whole(word, frequency), HIGHEST)
    pairs = lexicon.overlapping(word)
    if not lexicon.broken(word, usual, pairs):
        return usual
    floor = lowest(lambda frequency: lexicon.is_whole(word, frequency), usual)
    unavoidable = lexicon.broken(word, floor, pairs)
    if lexicon.broken(word, usual, pairs) == unavoidable:
        return usual
    ceiling = lowest(lambda frequency: lexicon.broken(word, frequency, pairs) > unavoidable, usual) - 1
    return isqrt(floor * ceiling)


def term_frequencies(words: Sequence[str]) -> dict[str, int]:
    """Compute the frequency of each term."""
    lexicon = Lexicon(words)
    for word in sorted(words, key=lambda word: (len(word), word)):
        lexicon.set(word, choose(lexicon, word))
    return {word: lexicon.frequency(word) for word in words}


def rewrite(text: str, frequencies: dict[str, int]) -> str:
    """Replace the frequencies in the text of a dictionary file."""
    return re.sub(r"(?m)^([^#\s]+) \d+ ", lambda match: f"{match[1]} {frequencies[match[1]]} ", text)


if __name__ == "__main__":
    content = rewrite(PATH.read_text("utf-8"), term_frequencies([entry.word for entry in domain_terms()]))
    PATH.write_text(content, encoding="utf-8")
