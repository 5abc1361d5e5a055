import importlib
from types import SimpleNamespace

import pytest
import torch

from helpers.stub_matchers import MaxMeanMatcher, PooledMatcher
from tangka_match.errors import ConfigError, ShapeError
from tangka_match.retrieval import score_matrix
from tangka_match.retrieval.score_matrix import CAPTION_CHUNK, MAX_ELEMENTS, _Rows, default_elements
from tangka_match.types import Encoded

MODULE = importlib.import_module("tangka_match.retrieval.score_matrix")  # the package exports a function of this name


DIM = 4


def sequences(lengths, seed):
    """Return sequences of the given lengths, padded with large values that must have no effect."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    tokens = torch.randn(len(lengths), max(lengths), DIM, generator=generator).masked_fill(~mask[..., None], 1e3)
    return Encoded(tokens=tokens, mask=mask)


def vectors(count, seed):
    return Encoded(pooled=torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed)))


class Recorder(MaxMeanMatcher):
    """Records images, regions, captions and words of every call."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def similarity(self, images, texts):
        self.calls.append((*images.tokens.shape[:2], *texts.tokens.shape[:2]))
        return super().similarity(images, texts)


IMAGES = sequences([3, 6, 1, 6, 2, 4, 6], seed=0)
TEXTS = sequences([5, 2, 9, 1, 4, 4, 7, 3, 9, 2, 6], seed=1)


class TestScores:
    @pytest.mark.parametrize("image_chunk", [1, 3, 100, None])
    @pytest.mark.parametrize("caption_chunk", [1, 4, 100, None])
    def test_chunk_sizes_do_not_change_scores(self, image_chunk, caption_chunk):
        with torch.no_grad():
            whole = MaxMeanMatcher().similarity(IMAGES, TEXTS)
        chunked = score_matrix(MaxMeanMatcher(), IMAGES, TEXTS, image_chunk=image_chunk, caption_chunk=caption_chunk)
        torch.testing.assert_close(chunked, whole, rtol=0, atol=1e-6)

    def test_pooled_vectors(self):
        images, texts = vectors(7, seed=0), vectors(150, seed=1)
        expected = images.pooled @ texts.pooled.T
        torch.testing.assert_close(score_matrix(PooledMatcher(), images, texts), expected, rtol=0, atol=1e-6)

    def test_float32_on_the_cpu_without_gradient(self):
        scores = score_matrix(
            PooledMatcher().double(), vectors(2, 0).to(dtype=torch.float64), vectors(3, 1).to(dtype=torch.float64)
        )
        assert (scores.dtype, scores.device.type, scores.requires_grad) == (torch.float32, "cpu", False)
        assert not scores.is_inference()

    def test_caption_without_words_keeps_one_position(self):
        """Matchers take maxima and softmaxes over words, which are undefined for zero words."""
        texts = Encoded(tokens=torch.ones(2, 3, DIM), mask=torch.tensor([[False] * 3, [True, True, False]]))
        matcher = Recorder()
        score_matrix(matcher, IMAGES, texts, caption_chunk=1)
        assert {words for _, _, _, words in matcher.calls} == {1, 2}

    def test_gap_in_a_mask_is_kept(self):
        texts = Encoded(tokens=TEXTS.tokens[:1, :3], mask=torch.tensor([[True, False, True]]))
        with torch.no_grad():
            whole = MaxMeanMatcher().similarity(IMAGES, texts)
        torch.testing.assert_close(score_matrix(MaxMeanMatcher(), IMAGES, texts), whole)

    def test_evaluation_mode_during_and_training_mode_after(self):
        class Mode(PooledMatcher):
            def similarity(self, images, texts):
                return torch.full((len(images), len(texts)), float(self.training))

        matcher = Mode().train()
        assert score_matrix(matcher, vectors(2, 0), vectors(2, 1)).sum() == 0
        assert matcher.training


class TestMemory:
    @pytest.mark.parametrize("budget", [60, 200, 1000, 10**6])
    def test_no_chunk_exceeds_the_budget(self, budget):
        matcher = Recorder()
        score_matrix(matcher, IMAGES, TEXTS, max_elements=budget)
        for images, regions, captions, words in matcher.calls:
            assert images * captions * words * max(DIM, regions) <= budget

    def test_smallest_chunk_is_one_pair(self):
        matcher = Recorder()
        score_matrix(matcher, IMAGES, TEXTS, max_elements=1)
        assert {(images, captions) for images, _, captions, _ in matcher.calls} == {(1, 1)}

    def test_short_captions_take_more_images_per_chunk(self):
        matcher = Recorder()
        score_matrix(matcher, IMAGES, TEXTS, caption_chunk=2, max_elements=200)
        most = {words: images for images, _, _, words in reversed(matcher.calls)}
        assert most[2] > most[9]

    def test_padding_is_trimmed(self):
        matcher = Recorder()
        score_matrix(matcher, IMAGES, TEXTS, image_chunk=1, caption_chunk=1)
        assert sorted(words for _, _, _, words in matcher.calls[:: len(IMAGES)]) == [1, 2, 2, 3, 4, 4, 5, 6, 7, 9, 9]
        assert [regions for _, regions, _, _ in matcher.calls[: len(IMAGES)]] == [3, 6, 1, 6, 2, 4, 6]

    def test_small_corpus_takes_few_chunks(self):
        matcher = Recorder()
        score_matrix(matcher, IMAGES, sequences([3] * (2 * CAPTION_CHUNK), seed=2))
        assert len(matcher.calls) == 2


class TestMistakes:
    @pytest.mark.parametrize("name", ["image_chunk", "caption_chunk", "max_elements"])
    def test_sizes_below_one_are_an_error(self, name):
        with pytest.raises(ConfigError, match=f"{name}=0"):
            score_matrix(MaxMeanMatcher(), IMAGES, TEXTS, **{name: 0})

    def test_wrong_score_shape_is_an_error(self):
        class Transposed(PooledMatcher):
            def similarity(self, images, texts):
                return super().similarity(images, texts).T

        with pytest.raises(ShapeError, match=r"Transposed\.similarity returned \(3, 2\) for 2 images and 3 captions"):
            score_matrix(Transposed(), vectors(2, 0), vectors(3, 1))


class Cramped(Recorder):
    """Has memory for two images at a time."""

    failures = 0

    def similarity(self, images, texts):
        if len(images) > 2:
            self.failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return super().similarity(images, texts)


class TestGpuMemory:
    """What a GPU would meet; without one, a matcher raises its errors, and torch's questions about it are answered."""

    def test_chunks_are_halved_until_they_fit_and_stay_so(self):
        images, texts = sequences([3] * 9, seed=0), sequences([2] * 70, seed=1)
        cramped = Cramped()
        found = score_matrix(cramped, images, texts)
        assert torch.equal(found, score_matrix(MaxMeanMatcher(), images, texts, image_chunk=2))
        first, second = CAPTION_CHUNK, 70 - CAPTION_CHUNK
        assert cramped.failures == 2, "nine images, then four"
        assert [call[0] for call in cramped.calls] == [2, 2, 2, 2, 1] * 2
        assert {call[2] for call in cramped.calls} == {first, second}

    def test_single_image_that_does_not_fit_is_an_error(self):
        class Full(MaxMeanMatcher):
            def similarity(self, images, texts):
                raise torch.OutOfMemoryError("CUDA out of memory.")

        with pytest.raises(ConfigError, match=r"the memory of cpu ran out .* against 2 captions: use device=cpu"):
            score_matrix(Full(), sequences([3] * 4, seed=0), sequences([2, 1], seed=1))

    @pytest.mark.parametrize(
        ("free", "elements"), [(0, MAX_ELEMENTS), (2**33, 2**26), (24 * 10**9, 2**27), (24 * 10**9 + 2**20, 2**27)]
    )
    def test_chunks_grow_with_free_memory(self, monkeypatch, free, elements):
        monkeypatch.setattr(MODULE, "free_gpu_memory", lambda device: free)
        assert default_elements(torch.device("cuda")) == elements

    @pytest.mark.parametrize(("free", "is_resident"), [(10**9, True), (1000, False)])
    def test_images_are_copied_at_once_if_they_fit(self, monkeypatch, free, is_resident):
        monkeypatch.setattr(MODULE, "free_gpu_memory", lambda device: free)
        copied = []
        monkeypatch.setattr(Encoded, "to", lambda self, device=None, dtype=None: copied.append(len(self)) or self)
        _Rows(MaxMeanMatcher(), sequences([3] * 8, seed=0), SimpleNamespace(type="cuda"))
        assert copied == ([8] if is_resident else [])
