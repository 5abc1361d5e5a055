import numpy as np
import pytest

from tangka_match.data.encoding import EncodedCaptions, check_max_tokens, encode_captions
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import ConfigError, DataFormatError

VOCABULARY = Vocabulary.build([["绿", "度母", "坐", "莲花"]])


def encode(*captions, max_tokens=80):
    return encode_captions([list(c) for c in captions], VOCABULARY, max_tokens, "dev_caps.txt")


def test_encoded_captions_keep_order_and_lengths():
    encoded = encode(["绿", "度母"], ["坐"], ["莲花", "船", "坐"])
    assert len(encoded) == 3
    assert [c.tolist() for c in encoded] == [
        VOCABULARY.encode(words) for words in (["绿", "度母"], ["坐"], ["莲花", "船", "坐"])
    ]
    assert encoded[2].tolist() == list(encoded)[2].tolist()
    assert encoded[0].dtype == np.int64


def test_join_keeps_the_order():
    parts = [encode(["绿"], ["度母", "坐"]), encode(["莲花"]), encode(["坐", "绿"])]
    joined = EncodedCaptions.join(parts)
    assert [c.tolist() for c in joined] == [c.tolist() for part in parts for c in part]
    assert joined.offsets.tolist() == [0, 3, 7, 10, 14]


def test_long_captions_are_truncated_and_keep_the_end_token():
    whole = VOCABULARY.encode(["绿", "度母", "坐", "莲花"])
    assert encode(["绿", "度母", "坐", "莲花"], max_tokens=6)[0].tolist() == whole
    assert encode(["绿", "度母", "坐", "莲花"], max_tokens=5)[0].tolist() == [*whole[:4], Vocabulary.END]
    assert encode(["绿", "度母", "坐", "莲花"], max_tokens=3)[0].tolist() == [*whole[:2], Vocabulary.END]


def test_caption_without_words_is_reported_with_its_line():
    with pytest.raises(
        DataFormatError, match=r"dev_caps\.txt: 1 caption of 2 without a word after tokenising: line 2\."
    ):
        encode(["绿"], [])


@pytest.mark.parametrize("max_tokens", [2, 0, -1])
def test_max_tokens_below_three(max_tokens):
    check_max_tokens(3)
    with pytest.raises(ConfigError, match=rf"data\.max_tokens={max_tokens} must be >= 3"):
        check_max_tokens(max_tokens)
    with pytest.raises(ConfigError, match=rf"data\.max_tokens={max_tokens} must"):
        encode(["绿"], max_tokens=max_tokens)
