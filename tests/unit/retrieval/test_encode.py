import pytest
import torch
from torch import nn

from helpers.small_matchers import small_matcher
from helpers.stub_matchers import MaxMeanMatcher, PooledMatcher
from tangka_match.errors import DataFormatError
from tangka_match.retrieval import encode_caption_batches, encode_image_batches
from tangka_match.retrieval.encode import corrects_scores, device_of, drop_correction, inference
from tangka_match.types import CaptionBatch, Encoded, ImageBatch


def image_batch(index, regions=3, dtype=torch.float32):
    """Return a batch in which every feature of image n is n."""
    index = torch.tensor(index)
    features = index[:, None, None].expand(-1, regions, 5).to(dtype)
    return ImageBatch(features, torch.ones(len(index), regions, dtype=torch.bool), index)


def caption_batch(index, tokens=3):
    """Return a batch in which caption n repeats word n."""
    index = torch.tensor(index)
    return CaptionBatch(
        index[:, None].expand(-1, tokens).clone(), torch.ones(len(index), tokens, dtype=torch.bool), index
    )


class TestImages:
    def test_rows_are_sorted_by_index(self):
        matcher = MaxMeanMatcher()
        encoded = encode_image_batches(matcher, [image_batch([4, 1]), image_batch([0, 3, 2])], "cpu")
        expected = torch.arange(5.0)[:, None, None].expand(-1, 3, 5) @ matcher.project
        torch.testing.assert_close(encoded.tokens, expected)

    def test_shorter_sequences_are_padded_and_masked(self):
        encoded = encode_image_batches(MaxMeanMatcher(), [image_batch([1, 2], regions=2), image_batch([0], 4)], "cpu")
        assert encoded.tokens.shape == (3, 4, 4)
        assert encoded.mask.sum(1).tolist() == [4, 2, 2]
        assert encoded.tokens[1, 2:].abs().sum() == 0

    def test_repeated_images_are_kept_once(self):
        encoded = encode_image_batches(MaxMeanMatcher(), [image_batch([0, 1]), image_batch([2, 0])], "cpu")
        assert len(encoded) == 3

    def test_half_precision_features_are_encoded_in_float32(self):
        half, full = (
            encode_image_batches(PooledMatcher(), [image_batch([1, 2], dtype=dtype)], "cpu")
            for dtype in (torch.float16, torch.float32)
        )
        assert half.pooled.dtype == torch.float32
        assert torch.equal(half.pooled, full.pooled)

    def test_no_batches_is_an_error(self):
        with pytest.raises(DataFormatError, match="there are 0 image batches to encode"):
            encode_image_batches(PooledMatcher(), [], "cpu")


class TestCaptions:
    def test_rows_are_sorted_by_index(self):
        matcher = MaxMeanMatcher()
        encoded = encode_caption_batches(matcher, [caption_batch([2, 0], 2), caption_batch([1], 3)], "cpu")
        torch.testing.assert_close(encoded.tokens[:, 0], matcher.words[:3])
        assert encoded.mask.sum(1).tolist() == [2, 3, 2]

    def test_no_batches_is_an_error(self):
        with pytest.raises(DataFormatError, match="there are 0 caption batches to encode"):
            encode_caption_batches(PooledMatcher(), [], "cpu")


class TestState:
    def test_dropout_is_off_and_training_mode_is_restored(self):
        matcher = PooledMatcher().train()
        batches = [caption_batch([0, 1, 2])]
        first, second = (encode_caption_batches(matcher, batches, "cpu") for _ in range(2))
        assert torch.equal(first.pooled, second.pooled)
        assert matcher.training

    def test_surrounding_autocast_does_not_change_embeddings(self):
        batches = [image_batch([3, 1, 2])]
        plain = encode_image_batches(MaxMeanMatcher(), batches, "cpu")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            under_autocast = encode_image_batches(MaxMeanMatcher(), batches, "cpu")
        assert torch.equal(under_autocast.tokens, plain.tokens)

    def test_results_are_ordinary_tensors(self):
        encoded = encode_image_batches(MaxMeanMatcher(), [image_batch([0, 1])], "cpu")
        assert not encoded.tokens.is_inference()
        assert not encoded.tokens.requires_grad


CPU = torch.device("cpu")


def test_inference_disables_training_gradients_and_autocast():
    matcher = PooledMatcher()
    with torch.autocast("cpu", dtype=torch.bfloat16), inference(matcher, CPU):
        assert not matcher.training
        assert not matcher.dropout.training
        assert torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")


def test_inference_restores_modes_per_module_after_an_error():
    matcher = PooledMatcher()
    matcher.dropout.eval()
    with pytest.raises(KeyError), inference(matcher, CPU):
        raise KeyError
    assert matcher.training
    assert not matcher.dropout.training


def test_device_of_returns_device_of_parameters():
    matcher = nn.Linear(2, 2, device="meta")
    assert device_of(matcher, CPU).type == "meta"
    assert device_of(nn.Identity(), CPU) == CPU


def test_only_a_model_with_a_correction_has_components_to_drop():
    encoded = Encoded(pooled=torch.arange(12.0).reshape(2, 6))
    plain, corrected = small_matcher("cca"), small_matcher("cca_hubs")
    assert not corrects_scores(plain)
    assert corrects_scores(corrected)
    assert drop_correction(plain, encoded) is encoded
    assert drop_correction(corrected, encoded).pooled.tolist() == [[0, 1, 2, 3], [6, 7, 8, 9]]
    tokens = Encoded(tokens=torch.zeros(1, 2, 3), mask=torch.ones(1, 2, dtype=torch.bool))
    assert drop_correction(corrected, tokens) is tokens
