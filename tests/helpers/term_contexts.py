"""Contexts of Thangka terms: sentences that keep a term whole, and the words beside it whose boundaries must hold."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

Cut = Callable[[str], list[str]]

CONTEXTS = (
    "{}",
    "这幅唐卡的主尊是{}。",
    "唐卡中央绘有{}，线条流畅",
    "右手持{}，左手置于膝上",
    "头戴{}",
    "坐于{}上",
    "身后是{}和蓝天",
    "以{}为主题的作品",
    "{0}、{0}",
)
"""Standard contexts: each term must be one token in each of them."""

_BLOCKS = Path(__file__).with_name("term_neighbours.txt").read_text("utf-8").split("\n\n")[1:]
LEFT, RIGHT = (tuple(block.split()) for block in _BLOCKS)
"""Words that stand before and after a term in descriptions."""


class Pair(NamedTuple):
    """Two adjacent words with a boundary between them.

    Args:
        left: First word.
        right: Second word.
        is_right: Whether the neighbour is the second word; otherwise it is the first.
    """

    left: str
    right: str
    is_right: bool


def beside(term: str) -> list[Pair]:
    """Return a term between its neighbours: (中央, 药师佛), (药师佛, 手持)."""
    return [Pair(word, term, False) for word in LEFT] + [Pair(term, word, True) for word in RIGHT]


def overlaps(term: str, is_word: Callable[[str], bool]) -> list[Pair]:
    """Return neighbours that share characters with a term, beside the rest of the term: (菩萨, 坐在) for 菩萨坐.

    The rest must be a word of two or more characters. 结跏趺坐 and 坐在 give no pair: 结跏趺 is not a word, so that
    结跏趺坐在 has only one reading.

    Args:
        term: Thangka term.
        is_word: Whether a string is a word of jieba's dictionary or a Thangka term.
    """
    pairs = []
    for size in range(1, len(term) - 1):
        head, tail = term[:-size], term[size:]
        if is_word(head):
            pairs += [Pair(head, word, True) for word in RIGHT if len(word) > size and word.startswith(term[-size:])]
        if is_word(tail):
            pairs += [Pair(word, tail, False) for word in LEFT if len(word) > size and word.endswith(term[:size])]
    return pairs


def ends(words: Sequence[str]) -> list[int]:
    """Return the positions at which the words of a text end."""
    positions, end = [], 0
    for word in words:
        end += len(word)
        positions.append(end)
    return positions


def has_boundary(cut: Cut, pair: Pair) -> bool:
    """Whether no token crosses the boundary of a pair."""
    return len(pair.left) in ends(cut(pair.left + pair.right))


def keeps_neighbour(cut: Cut, pair: Pair) -> bool:
    """Whether the neighbour is one token beside the other word."""
    words = cut(pair.left + pair.right)
    return words[-1] == pair.right if pair.is_right else words[0] == pair.left


def crafted_pairs(terms: Sequence[str], plain: Cut, is_word: Callable[[str], bool]) -> list[Pair]:
    """Return the pairs whose boundary plain jieba has too, in the order of the terms, without repetitions.

    Pairs that form another term together are left out: 缂丝 beside 唐卡 is 缂丝唐卡.

    Args:
        terms: Thangka terms.
        plain: jieba without Thangka terms, the reference.
        is_word: Whether a string is a word of jieba's dictionary or a Thangka term.
    """
    known = set(terms)
    pairs = dict.fromkeys(pair for term in terms for pair in [*beside(term), *overlaps(term, is_word)])
    return [pair for pair in pairs if pair.left + pair.right not in known and keeps_neighbour(plain, pair)]
