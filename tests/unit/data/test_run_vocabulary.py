import pytest

from tangka_match.data.run_vocabulary import choose_vocabulary
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import DataFormatError

CAPTIONS = [["男人", "走路"], ["女人", "走路"]]


@pytest.fixture
def saved(tmp_path):
    def save(*words):
        Vocabulary(words).save_json(tmp_path / "vocab.json")
        return tmp_path / "vocab.json"

    return save


def choose(own=None, path=None, *, fallback=False, kept=()):
    return choose_vocabulary(CAPTIONS, own, path, min_count=1, character_fallback=fallback, kept=kept)


def test_built_vocabulary_keeps_words_without_a_note(caplog):
    assert choose(kept=["佛"]).words[4:] == ("男人", "走路", "女人", "佛")
    assert choose(fallback=True).num_characters == 5
    assert caplog.messages == []


def test_characters_of_another_checkpoint_are_noted(caplog):
    assert choose(kept=["男人", "佛@@", "母@@"]).num_characters == 2
    (message,) = caplog.messages
    assert message.startswith(
        "data.character_fallback=false, but the checkpoint of init_from holds 2 characters (words ending in @@)"
    )


def test_characters_of_a_file_are_noted(saved, caplog):
    choose(path=saved("男人", "走路", "女人", "母@@"))
    assert "vocab.json holds 1 character (words ending in @@): they are kept" in caplog.text
    caplog.clear()
    choose(path=saved("男人", "走路", "女人", "母@@"), fallback=True)
    assert caplog.messages == []


def test_fallback_without_characters_in_the_file_is_noted(saved, caplog):
    choose(path=saved("男人", "走路", "女人"), fallback=True)
    assert "data.character_fallback=true has no effect" in caplog.text
    assert "vocab.json holds no single characters (entries ending in @@), so unknown words become <unk>" in caplog.text


def test_fallback_with_the_vocabulary_of_a_tokenizer_is_noted(caplog):
    choose(Vocabulary(["男人", "走路", "女人"]), fallback=True)
    assert "data.tokenizer has its own vocabulary and cuts unknown words itself" in caplog.text


def test_word_pieces_that_do_not_cover_the_captions(caplog):
    choose(Vocabulary(["男人", "走路"]))
    assert "data.tokenizer: 25 % of the words of the training captions are not in this vocabulary" in caplog.text
    with pytest.raises(DataFormatError, match=r"data\.tokenizer: 100 % .*Give model\.text_model an encoder"):
        choose(Vocabulary(["the", "a"]))
