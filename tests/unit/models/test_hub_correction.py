"""`HubCorrection`: equality with nearest-neighbour normalisation, and its borders."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tangka_match.errors import ConfigError
from tangka_match.models.hub_correction import BANK_SIZE, NEIGHBOURS, HubCorrection
from tangka_match.ops import l2_normalise
from tangka_match.retrieval.hubness import nnn

DIM, WEIGHT = 8, 0.5


def vectors(count, seed):
    return l2_normalise(torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed)))


def fitted(images, texts, weight=WEIGHT):
    hubs = HubCorrection(DIM, weight)
    hubs.fit(images, texts, torch.Generator().manual_seed(0))
    return hubs


@settings(max_examples=20, deadline=None)
@given(images=st.integers(1, 70), texts=st.integers(1, 70), seed=st.integers(0, 99))
def test_ranks_as_nearest_neighbour_normalisation_in_both_directions(images, texts, seed):
    """With banks below and above the number of neighbours: differences within a query equal those of `nnn`."""
    bank_images, bank_texts = vectors(images, seed), vectors(texts, seed + 1000)
    hubs = fitted(bank_images, bank_texts)
    queries, answers = vectors(5, seed + 2000), vectors(6, seed + 3000)
    found = hubs.correct_images(queries) @ hubs.correct_texts(answers).T
    for corrected, plain in (
        (found, nnn(queries @ answers.T, bank_images @ answers.T, WEIGHT, NEIGHBOURS)),
        (found.T, nnn(answers @ queries.T, bank_texts @ queries.T, WEIGHT, NEIGHBOURS)),
    ):
        difference = corrected - plain
        torch.testing.assert_close(difference, difference[:, :1].expand_as(difference), atol=1e-5, rtol=0)


def test_a_hub_loses_its_place():
    """Caption 0 is as close to every bank image as to the query, caption 1 close to the query alone."""
    axes = torch.eye(DIM)
    texts = l2_normalise(torch.stack([torch.ones(DIM), axes[0] + 3 * axes[1]]))
    hubs = fitted(axes[[0, *range(2, DIM)]].repeat(8, 1), texts)
    assert (texts @ axes[0]).argmax().item() == 0
    assert (hubs.correct_images(axes[:1]) @ hubs.correct_texts(texts).T).argmax().item() == 1


def test_norms_stay_near_one():
    hubs = fitted(vectors(200, 0), vectors(200, 1))
    norms = hubs.correct_images(vectors(50, 2)).norm(dim=1)
    assert ((norms > 1.0) & (norms < 1.1)).all()


def test_larger_sets_are_sampled():
    many = vectors(BANK_SIZE + 5, 0)
    hubs = fitted(many, vectors(3, 1))
    assert hubs.image_is_real.all()
    assert int(hubs.text_is_real.sum()) == 3
    assert not torch.equal(hubs.image_bank, many[:BANK_SIZE])


def test_larger_sets_are_sampled_by_weight():
    """A tenth of the items has all the weight, so that only these fill the bank."""
    many = vectors(10 * BANK_SIZE, 0)
    weights = torch.arange(len(many)) % 10 == 0
    hubs = HubCorrection(DIM, WEIGHT)
    hubs.fit(many, vectors(3, 1), torch.Generator().manual_seed(0), (weights.float(), torch.ones(3)))
    torch.testing.assert_close(hubs.image_bank.sort(dim=0).values, many[weights].sort(dim=0).values)


def test_a_second_fit_forgets_the_first():
    hubs = fitted(vectors(50, 0), vectors(60, 1))
    hubs.fit(vectors(7, 2), vectors(8, 3), torch.Generator().manual_seed(0))
    again = fitted(vectors(7, 2), vectors(8, 3))
    for name, value in again.state_dict().items():
        torch.testing.assert_close(hubs.state_dict()[name], value, msg=name)


def test_without_a_fit_scores_are_cosines_plus_a_constant():
    hubs = HubCorrection(DIM, WEIGHT)
    images, texts = vectors(4, 0), vectors(5, 1)
    torch.testing.assert_close(hubs.correct_images(images) @ hubs.correct_texts(texts).T, images @ texts.T)


def test_no_gradient_through_the_correction():
    """The gradient is that of the cosine alone."""
    hubs = fitted(vectors(50, 0), vectors(50, 1))
    images = vectors(4, 2).requires_grad_()
    texts = vectors(5, 3)
    (hubs.correct_images(images) @ hubs.correct_texts(texts).T).sum().backward()
    torch.testing.assert_close(images.grad, texts.sum(dim=0).expand(4, -1))


@pytest.mark.parametrize("weight", [-0.5, float("nan"), float("inf")])
def test_refused_weights(weight):
    with pytest.raises(ConfigError, match="hub_weight is"):
        HubCorrection(DIM, weight)
