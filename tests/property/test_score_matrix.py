import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.stub_matchers import MaxMeanMatcher
from tangka_match.retrieval import score_matrix
from tangka_match.types import Encoded

CHECKS = settings(deadline=None, max_examples=40)


@st.composite
def corpora(draw):
    """Draw images and captions of different lengths, padded beyond the longest."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    encoded = []
    for _ in range(2):
        lengths = torch.tensor(draw(st.lists(st.integers(1, 6), min_size=1, max_size=9)))
        padded = int(lengths.max()) + draw(st.integers(0, 3))
        mask = torch.arange(padded) < lengths[:, None]
        encoded.append(Encoded(tokens=torch.randn(len(lengths), padded, 3, generator=generator), mask=mask))
    return encoded


@CHECKS
@given(corpora(), st.integers(1, 10), st.integers(1, 10), st.integers(1, 500))
def test_chunks_and_budget_do_not_change_scores(corpus, image_chunk, caption_chunk, budget):
    images, texts = corpus
    matcher = MaxMeanMatcher()
    with torch.no_grad():
        whole = matcher.similarity(images, texts)
    chunked = score_matrix(matcher, images, texts, image_chunk=image_chunk, caption_chunk=caption_chunk)
    torch.testing.assert_close(chunked, whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(score_matrix(matcher, images, texts, max_elements=budget), whole, rtol=0, atol=1e-6)


@CHECKS
@given(corpora(), st.randoms(use_true_random=False))
def test_rows_and_columns_keep_the_order_of_the_input(corpus, random):
    images, texts = corpus
    rows = torch.tensor(random.sample(range(len(images)), len(images)))
    columns = torch.tensor(random.sample(range(len(texts)), len(texts)))
    before = score_matrix(MaxMeanMatcher(), images, texts)
    after = score_matrix(MaxMeanMatcher(), images[rows], texts[columns])
    torch.testing.assert_close(after, before[rows][:, columns], rtol=0, atol=1e-6)
