import json

import pytest

from helpers.shared import SHARED, needs_shared
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import ConfigError, DataFormatError

CAPTIONS = [["一个", "男人", "坐"], ["一个", "女人", "坐"], ["两个", "女人"]]


@pytest.fixture
def vocabulary():
    return Vocabulary.build(CAPTIONS)


def test_words_are_numbered_by_first_occurrence(vocabulary):
    assert vocabulary.to_dict()["word2idx"] == {
        "<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3, "一个": 4, "男人": 5, "坐": 6, "女人": 7, "两个": 8,
    }  # fmt: skip
    assert (Vocabulary.PAD, Vocabulary.START, Vocabulary.END, Vocabulary.UNK) == (0, 1, 2, 3)
    assert len(vocabulary) == 9
    assert "坐" in vocabulary
    assert "孩子" not in vocabulary


def test_min_count_drops_rare_words_and_keeps_the_order():
    assert Vocabulary.build(CAPTIONS, min_count=2) == Vocabulary(["一个", "坐", "女人"])
    assert len(Vocabulary.build(CAPTIONS, min_count=3)) == 4
    assert len(Vocabulary.build([])) == 4


def test_special_tokens_in_captions_are_not_added_again():
    assert Vocabulary.build([["<unk>", "一个"], ["<unk>"]]) == Vocabulary(["一个"])


def test_character_fallback_adds_the_characters_of_all_words():
    """Also those of words that are too rare; words keep the ids that they have without them."""
    with_letters = Vocabulary.build(CAPTIONS, min_count=2, character_fallback=True)
    plain = Vocabulary.build(CAPTIONS, min_count=2)
    assert with_letters.words[: len(plain)] == plain.words
    assert with_letters.words[len(plain) :] == ("一@@", "个@@", "男@@", "人@@", "坐@@", "女@@", "两@@")


def test_unknown_words_are_encoded_by_their_characters():
    vocabulary = Vocabulary.build(CAPTIONS, character_fallback=True)

    def decoded(*words):
        return vocabulary.decode(vocabulary.encode(words))

    assert decoded("一个", "坐") == ["一个", "坐"]
    assert decoded("女", "男孩") == ["女@@", "男@@", "<unk>"]
    assert decoded("孩子") == ["<unk>"]
    assert Vocabulary.from_dict(vocabulary.to_dict()).encode(["男孩"]) == vocabulary.encode(["男孩"])


def test_pieces_of_a_pretrained_vocabulary_are_no_fallback():
    """Its word pieces are always known, except its unknown piece, which is not made of characters."""
    assert Vocabulary(["母", "##母", "##U"]).encode(["[UNK]", "度母"]) == [1, 3, 3, 2]


def test_encode_and_decode(vocabulary):
    assert vocabulary.encode(["一个", "孩子", "坐"]) == [1, 4, 3, 6, 2]
    assert vocabulary.encode([]) == [1, 2]
    for caption in CAPTIONS:
        assert vocabulary.decode([*vocabulary.encode(caption), 0, 0]) == caption
    assert vocabulary.decode([1, 3, 2]) == ["<unk>"]


@pytest.mark.parametrize("index", [9, -1])
def test_decode_of_ids_outside_the_vocabulary(vocabulary, index):
    with pytest.raises(DataFormatError, match=f"id {index} is outside this vocabulary of 9 words"):
        vocabulary.decode([1, index, 2])


def test_unknown_share(vocabulary):
    assert vocabulary.unknown_share(CAPTIONS) == 0.0
    assert vocabulary.unknown_share([["一个", "孩子"], ["狗"], ["坐"]]) == 50.0
    assert vocabulary.unknown_share([]) == 0.0


def test_vocabulary_of_other_captions_is_refused_and_a_poor_one_is_noted(vocabulary, caplog):
    known = vocabulary.words[4]
    assert vocabulary.check_coverage([[known] * 9, ["x"]], "v.json", "Do so") is vocabulary
    assert caplog.messages == []
    vocabulary.check_coverage([[known, "x"]], "v.json", "Do so")
    assert "v.json: 50 % of the words of the training captions are not in this vocabulary" in caplog.text
    with pytest.raises(DataFormatError, match=r"v.json: 98 % of the words .*another tokenizer. Do so"):
        vocabulary.check_coverage([[known], ["x"] * 49], "v.json", "Do so")


def test_equal_vocabularies_have_equal_fingerprints(vocabulary):
    same, other = Vocabulary.build(CAPTIONS), Vocabulary.build(CAPTIONS[::-1])
    assert vocabulary == same
    assert hash(vocabulary) == hash(same)
    assert vocabulary.fingerprint() == same.fingerprint() == "e928772349d66f2e"
    assert vocabulary != other
    assert vocabulary.fingerprint() != other.fingerprint()
    assert vocabulary != vocabulary.to_dict()
    assert repr(vocabulary) == "Vocabulary(9 words, fingerprint e928772349d66f2e)"
    assert Vocabulary(["a b"]).fingerprint() != Vocabulary(["a", "b"]).fingerprint()


def test_dict_and_json_round_trip(vocabulary, tmp_path):
    assert Vocabulary.from_dict(vocabulary.to_dict()) == vocabulary
    path = tmp_path / "new" / "vocab.json"
    vocabulary.save_json(path)
    assert Vocabulary.load_json(path) == Vocabulary.load(path) == vocabulary


@needs_shared
@pytest.mark.parametrize("name", ["legacy_sgr", "legacy_saf"])
def test_save_json_writes_the_same_bytes_as_sgraf(name, tmp_path):
    published = SHARED / "fixtures" / name / "vocab/mini_precomp_vocab.json"
    Vocabulary.load(published).save_json(tmp_path / "vocab.json")
    assert (tmp_path / "vocab.json").read_bytes() == published.read_bytes()


def test_min_count_below_one():
    with pytest.raises(ConfigError, match="min_count=0 must be >= 1"):
        Vocabulary.build(CAPTIONS, min_count=0)


@pytest.mark.parametrize("words", [["坐", "坐"], ["<unk>"]])
def test_duplicate_words(words):
    with pytest.raises(DataFormatError, match=f"'{words[0]}' has the ids"):
        Vocabulary(words)


def damaged(vocabulary, damage):
    content = json.loads(json.dumps(vocabulary.to_dict()))
    damage(content)
    return content


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: c.pop("idx"), r"old\.json: found \['idx2word', 'word2idx'\], expected \{"),
        (lambda c: c.update(word2idx=["坐"]), r"old\.json: word2idx is of type list, expected \{"),
        (lambda c: c.update(idx2word=None), r"old\.json: idx2word is of type NoneType, expected \{"),
        (lambda c: c["word2idx"].update(坐="6"), r"old\.json: '坐' has the id '6'; ids must be integers"),
        (lambda c: c["word2idx"].update(坐=True), r"old\.json: '坐' has the id True; ids must be integers"),
        (lambda c: c["word2idx"].update(坐=5), r"old\.json: '坐' has the id 5, expected 6"),
        (lambda c: c["word2idx"].update(两个=12), r"old\.json: '两个' has the id 12, expected 8"),
        (
            lambda c: c["word2idx"].update({"<pad>": 1, "<start>": 0}),
            r"old\.json: id 0 is '<start>'; it must be '<pad>'",
        ),
        (lambda c: c.update(word2idx={"<pad>": 0}), r"old\.json: id 1 is missing; it must be '<start>'"),
        (lambda c: c["idx2word"].update({"6": "站"}), r"old\.json: id 6 is '坐' in word2idx, but '站' in idx2word"),
        (lambda c: c["idx2word"].update({"9": "站"}), r"old\.json: id 9 is None in word2idx, but '站' in idx2word"),
        (lambda c: c["idx2word"].pop("8"), r"old\.json: id 8 is '两个' in word2idx, but None in idx2word"),
        (lambda c: c.update(idx=8), r"old\.json: idx is 8, but word2idx has 9 words"),
    ],
)
def test_damaged_json_is_reported_with_file_and_entry(vocabulary, tmp_path, damage, message):
    path = tmp_path / "old.json"
    path.write_text(json.dumps(damaged(vocabulary, damage)))
    with pytest.raises(DataFormatError, match=message):
        Vocabulary.load(path)


@pytest.mark.parametrize("content", [b"{", b"", b"\xb6\xc8", b"[" * 100_000])
def test_files_without_json(tmp_path, content):
    path = tmp_path / "old.json"
    path.write_bytes(content)
    with pytest.raises(DataFormatError, match=r"old\.json: the vocabulary is not JSON in UTF-8"):
        Vocabulary.load(path)


def test_other_json_and_missing_files(tmp_path):
    path = tmp_path / "list.json"
    path.write_text("[1]")
    with pytest.raises(DataFormatError, match=r"list\.json: found list, expected \{"):
        Vocabulary.load(path)
    with pytest.raises(DataFormatError, match=r"absent\.json: cannot read the vocabulary \(No such file"):
        Vocabulary.load(tmp_path / "absent.json")
    with pytest.raises(DataFormatError, match=r"words\.txt: unknown vocabulary suffix '\.txt'; must be \.json, \.pkl"):
        Vocabulary.load(tmp_path / "words.txt")
