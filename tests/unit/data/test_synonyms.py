import pytest

from tangka_match.data.synonyms import domain_synonyms, known_synonyms, parse_synonyms
from tangka_match.data.tokenizer import JiebaTokenizer
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import DataFormatError


def test_the_tokenizer_leaves_the_words_of_the_package_whole():
    """A group whose words never come out of a caption would be dead."""
    tokenizer = JiebaTokenizer()
    cut = [word for group in domain_synonyms() for word in group if tokenizer(word) != [word]]
    assert cut == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("云\n", "x, line 1: '云'; expected two and more words"),
        ("云=\n", "line 1: '云='; expected"),
        ("# a\n云=雾\n山=云\n", "x, line 3: '云' is on line 2 already; a word has one group"),
    ],
)
def test_a_bad_line_is_named(text, said):
    with pytest.raises(DataFormatError, match=said):
        parse_synonyms(text, "x")


def test_words_outside_of_the_vocabulary_are_no_synonyms():
    groups = (("一", "二", "三"), ("四", "五"))
    assert known_synonyms(groups, Vocabulary(["三", "四", "一"])) == {6: (4,), 4: (6,)}
