"""Thangka terms stay whole and leave the words beside them whole; plain jieba is the reference for these words."""

import re

import pytest

from helpers.term_contexts import LEFT, RIGHT, Pair, beside, crafted_pairs, has_boundary, keeps_neighbour, overlaps
from helpers.term_frequencies import PATH, lowest, rewrite, term_frequencies
from tangka_match.data.segmentation import (
    _load_jieba,
    domain_terms,
    jieba_segmenter,
    rjieba_available,
    rjieba_segmenter,
)

TERMS = tuple(entry.word for entry in domain_terms())

# Even frequency 1 is too high, because a word of the pair is rare in jieba's dictionary (燃灯 3 times, 象皮 4 times).
TOO_RARE = {
    "燃灯": ("佛像", "佛陀"),
    "不动": ("佛像",),
    "三十五": ("佛像",),
    "双身": ("佛像", "佛陀"),
    "金刚": ("手握", "手执"),
    "忿怒": ("尊者",),
    "大黑": ("天上",),
    "跏趺": ("坐在", "坐姿"),
    "垂足": ("坐在", "坐姿"),
    "象皮": ("衣着", "衣纹"),
    "七政": ("宝石",),
    "传承": ("树上",),
}
# Only a frequency at which 如意树 and 集会树 are split in the standard contexts would keep these.
TERM_FIRST = {"如意": ("树上",), "集会": ("树上",)}
EXCEPTIONS = {f"{left}|{right}" for left, rights in (TOO_RARE | TERM_FIRST).items() for right in rights}
"""The 20 boundaries of the crafted pairs that no frequency keeps while the term is whole in the standard contexts."""


def fastest(entries):
    return (rjieba_segmenter if rjieba_available() else jieba_segmenter)(entries, hmm=True)


@pytest.fixture(scope="module")
def cut():
    return fastest(domain_terms())


@pytest.fixture(scope="module")
def pairs():
    frequencies = _load_jieba(domain_terms()).FREQ
    return crafted_pairs(TERMS, fastest([]), lambda text: len(text) > 1 and frequencies.get(text, 0) > 0)


def broken(cut, pairs):
    return {f"{pair.left}|{pair.right}" for pair in pairs if not has_boundary(cut, pair)}


def test_no_token_crosses_a_boundary_except_the_known_ones(cut, pairs):
    assert len(pairs) > 90_000
    assert broken(cut, pairs) == EXCEPTIONS
    assert len(EXCEPTIONS) == 20


def test_equal_frequencies_break_boundaries(pairs):
    cut = fastest([entry._replace(frequency=300) for entry in domain_terms()])
    examples = {Pair("菩萨", "坐在", True), Pair("金刚", "手持", True), Pair("药师", "佛像", True)}
    assert examples <= set(pairs)
    assert len(broken(cut, examples)) == len(examples)


def test_terms_are_whole_beside_their_neighbours(cut, pairs):
    known = {pair for term in TERMS for pair in beside(term)}
    split = {
        f"{pair.left}|{pair.right}"
        for pair in pairs
        if pair in known and (pair.left if pair.is_right else pair.right) not in cut(pair.left + pair.right)
    }
    assert split <= EXCEPTIONS


@pytest.mark.parametrize("hmm", [True, False])
def test_boundaries_in_sentences(hmm):
    expected = (
        "菩萨/坐在/莲花/上",
        "菩萨坐",
        "大威德金刚/手持/金刚杵",
        "金刚/手持",
        "主尊/是/金刚手",
        "一幅/药师/佛像",
        "药师佛/结跏趺坐/在/莲花座/上",
    )
    cut = jieba_segmenter(domain_terms(), hmm=hmm)
    assert ["/".join(cut(words.replace("/", ""))) for words in expected] == list(expected)


def test_neighbours_are_words_of_the_dictionaries():
    frequencies = _load_jieba(domain_terms()).FREQ
    assert [word for word in LEFT + RIGHT if not frequencies.get(word)] == []
    assert len(set(LEFT)) == len(LEFT)
    assert len(set(RIGHT)) == len(RIGHT)


def test_overlaps_need_a_word_beside_the_neighbour():
    assert overlaps("菩萨坐", {"菩萨"}.__contains__) == [
        Pair("菩萨", word, True) for word in RIGHT if word.startswith("坐")
    ]
    assert overlaps("戴宝冠", {"宝冠"}.__contains__) == [Pair("头戴", "宝冠", False), Pair("佩戴", "宝冠", False)]
    assert overlaps("结跏趺坐", {"跏趺"}.__contains__) == []


def test_crafted_pairs_leave_out_terms_and_boundaries_that_plain_jieba_lacks():
    def plain(text):
        return [text[:2], text[2:]]

    assert Pair("缂丝", "唐卡", True) in crafted_pairs(["缂丝"], plain, lambda _: False)
    found = crafted_pairs(["缂丝", "缂丝唐卡"], plain, lambda _: False)
    assert Pair("缂丝", "唐卡", True) not in found
    assert Pair("缂丝唐卡", "手持", True) not in found
    assert len(found) == len(set(found))


def test_boundary_and_whole_neighbour():
    pair = Pair("菩萨", "坐在", True)
    for words, boundary, whole in ((["菩萨", "坐在"], True, True), (["菩萨", "坐", "在"], True, False)):
        assert has_boundary(lambda _, words=words: words, pair) is boundary
        assert keeps_neighbour(lambda _, words=words: words, pair) is whole
    assert not has_boundary(lambda _: ["菩萨坐", "在"], pair)
    assert keeps_neighbour(lambda _: ["中央", "菩", "萨"], Pair("中央", "菩萨", False))


def test_frequencies_of_the_file_follow_the_rule():
    assert {entry.word: entry.frequency for entry in domain_terms()} == term_frequencies(TERMS)


def test_rewrite_changes_only_frequencies():
    text = PATH.read_text("utf-8")
    assert rewrite(text, {entry.word: entry.frequency for entry in domain_terms()}) == text
    changed = rewrite(text, dict.fromkeys(TERMS, 7))
    assert re.sub(r" \d+ ", " ", changed) == re.sub(r" \d+ ", " ", text)
    assert changed.count(" 7 n") == len(TERMS)


@pytest.mark.parametrize("least", [1, 2, 17, 100])
def test_lowest_frequency_that_is_enough(least):
    assert lowest(lambda frequency: frequency >= least, 100) == least
