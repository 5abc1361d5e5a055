import pytest

from tangka_match.data.captions import normalise_caption
from tangka_match.data.segmentation import domain_terms
from tangka_match.data.tokenizer import JiebaTokenizer
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.data.word_classes import domain_synonyms, known_synonyms, parse_synonyms, term_classes, word_kinds
from tangka_match.errors import DataFormatError


def test_no_synonym_of_the_package_is_split_by_the_tokenizer():
    """A synonym that the tokenizer splits would never occur in a caption."""
    tokenizer = JiebaTokenizer()
    cut = [word for group in domain_synonyms() for word in group if tokenizer(word) != [word]]
    assert cut == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("云\n", "x, line 1: '云'; expected two or more words"),
        ("云=\n", "line 1: '云='; expected"),
        ("# a\n云=雾\n山=云\n", "x, line 3: '云' is already on line 2; a word must be in one group"),
    ],
)
def test_invalid_line_is_reported(text, message):
    with pytest.raises(DataFormatError, match=message):
        parse_synonyms(text, "x")


def test_words_outside_the_vocabulary_are_not_synonyms():
    groups = (("一", "二", "三"), ("四", "五"))
    assert known_synonyms(groups, Vocabulary(["三", "四", "一"])) == {6: (4,), 4: (6,)}


def test_every_domain_term_has_a_class():
    classes = term_classes()
    assert set(classes) == {normalise_caption(entry.word) for entry in domain_terms()}
    assert len(set(classes.values())) == 22
    assert classes["释迦牟尼佛"] == "佛 Buddhas"
    assert classes["宗喀巴大师"].endswith("Masters and historical figures")


def test_other_words_have_a_part_of_speech():
    kinds = word_kinds(["小狗", "奔跑", "红", "三个", "旁边", "北京", "的", "怪怪怪词"])
    assert kinds["小狗"] == "nouns"
    assert kinds["奔跑"] == "verbs"
    assert kinds["红"] == "adjectives"
    assert kinds["北京"] == "nouns"
    assert kinds["旁边"] == "places and directions"
    assert not {"的", "怪怪怪词"} & set(kinds)


def test_domain_terms_do_not_count_as_nouns():
    assert word_kinds(["唐卡", "金刚杵"])["金刚杵"].endswith("Implements and attributes")
