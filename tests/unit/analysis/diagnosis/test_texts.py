import pytest

from helpers.planted import codes
from tangka_match.analysis.diagnosis.texts import Texts, broken_terms, diagnose_texts, single_character_runs
from tangka_match.data.vocabulary import Vocabulary

TERMS = ["嘎巴拉碗", "结跏趺坐", "嘎巴拉", "红唐"]
SENTENCE = ["绿度母", "手持", "嘎巴拉碗", "结跏趺坐", "于", "莲花座"]


def texts(*captions):
    return Texts(None, ["".join(words) for words in captions], captions)


def diagnose(train=(SENTENCE,) * 20, val=(SENTENCE,) * 20, max_tokens=80):
    given = {"train": texts(*train), "val": texts(*val)}
    return diagnose_texts(given, Vocabulary.build(train), TERMS, max_tokens)


def test_clean_captions_have_no_findings():
    section = diagnose()
    assert section.findings == []
    assert section.values["mean_words"] == {"train": 6.0, "val": 6.0}
    assert section.values["unknown_percent"] == {"train": 0.0, "val": 0.0}
    assert len(section.charts) == 1


def test_out_of_vocabulary_words_of_a_held_out_split():
    (finding,) = diagnose(val=[[*SENTENCE[:5], "狮子座"]] * 20).findings
    assert finding.code == "out_of_vocabulary"
    assert "16.7 % of the words of val" in finding.seen
    assert "狮子座 (20×)" in finding.seen


def test_few_out_of_vocabulary_words_are_not_reported():
    assert diagnose(val=[SENTENCE] * 19 + [[*SENTENCE[:5], "狮子座"]]).findings == []


def test_captions_without_a_word_are_a_fault():
    (finding,) = diagnose(val=[SENTENCE] * 40 + [[], []]).findings
    assert (finding.code, finding.severity, finding.ids) == ("no_words", "fault", ("val caption 41", "val caption 42"))
    assert "2 captions of val without a word, such as line 41" in finding.seen


def test_truncated_captions():
    (finding,) = diagnose(val=[SENTENCE] * 19 + [SENTENCE + SENTENCE[:1]], max_tokens=8).findings
    assert (finding.code, finding.ids) == ("cut_captions", ("val caption 20",))
    assert "data.max_tokens=9" in finding.do


def test_truncated_captions_are_counted_in_tokens():
    """An unknown word of four known characters is four tokens, so that the caption has 5 + 4 + 2."""
    held_out = [*SENTENCE[:5], "莲花度母"]
    given = {"train": texts(*[SENTENCE] * 20), "val": texts(*[SENTENCE] * 39, held_out)}
    vocabulary = Vocabulary.build([SENTENCE], character_fallback=True)
    (finding,) = diagnose_texts(given, vocabulary, TERMS, max_tokens=8).findings
    assert (finding.code, finding.ids) == ("cut_captions", ("val caption 40",))
    assert "data.max_tokens=11" in finding.do


def test_split_terms():
    (finding,) = diagnose(train=[["手持", "嘎巴", "拉碗"]] * 3 + [SENTENCE] * 17, val=[SENTENCE] * 20).findings
    assert finding.code == "terms_cut"
    assert "15.0 % of the captions of train" in finding.seen
    assert "嘎巴拉碗 (3×)" in finding.seen
    assert finding.ids == ("train caption 1", "train caption 2", "train caption 3")


def test_runs_of_single_characters():
    train = [[*SENTENCE, "乌", "巴", "拉", "花"]] * 20
    found = diagnose(train=train, val=train).findings
    assert codes(found) == ["single_characters", "single_characters"]
    assert "乌巴拉花 (20×)" in found[0].seen


def test_length_drift():
    (finding,) = diagnose(val=[SENTENCE[:3]] * 20).findings
    assert finding.code == "length_drift"
    assert "captions of val have 3.0 words on average, those of train 6.0" in finding.seen


@pytest.mark.parametrize(
    ("words", "broken"),
    [
        (["嘎巴", "拉", "碗"], ["嘎巴拉碗"]),
        (["嘎巴拉碗"], []),
        (["红", "唐卡"], []),
        (["红", "唐", "卡"], ["红唐"]),
        (["结跏", "趺坐", "嘎巴拉碗"], ["结跏趺坐"]),
        (["嘎", "巴拉", "又", "嘎巴拉碗"], ["嘎巴拉"]),
    ],
)
def test_broken_terms(words, broken):
    assert broken_terms("".join(words), words, TERMS) == broken


def test_single_character_run_ends_at_punctuation_and_function_words():
    assert single_character_runs("嘎巴,拉碗", ["嘎", "巴", "拉", "碗"]) == []
    assert single_character_runs("嘎巴的拉碗", list("嘎巴的拉碗")) == []
    assert single_character_runs("见乌巴拉花开", [*"见乌巴拉花", "开放"][:5]) == ["见乌巴拉花"]
