"""Layers against the code published with VSE-infinity and SCAN, written again here from their repositories."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from helpers.gradients import assert_same_gradients
from helpers.random_pairs import random_pairs
from helpers.small_matchers import DATA
from tangka_match.models import SCAN, DualEncoder
from tangka_match.models.region_encoders import RegionMLP


class PublishedMLP(nn.Module):
    """``MLP`` of VSE-infinity (woodfrog/vse_infinity, ``lib/modules/mlp.py``) with two layers."""

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(input_dim, hidden_dim), nn.Linear(hidden_dim, output_dim)])
        self.bns = nn.ModuleList([nn.BatchNorm1d(hidden_dim), nn.BatchNorm1d(output_dim)])  # the second is not used

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        images, regions, dims = x.shape
        x = x.reshape(images * regions, dims)
        x = functional.relu(self.bns[0](self.layers[0](x)))
        return self.layers[1](x).view(images, regions, -1)


def region_encoders() -> tuple[RegionMLP, PublishedMLP]:
    torch.manual_seed(0)
    ours, published = RegionMLP(10, 8, 0.0, batch_norm=True).double(), PublishedMLP(10, 4, 8).double()
    nn.init.normal_(ours.norm.weight)
    nn.init.normal_(ours.norm.bias)
    published.layers[0].load_state_dict(ours.mlp[0].state_dict())
    published.layers[1].load_state_dict(ours.mlp[3].state_dict())
    published.bns[0].load_state_dict(ours.norm.state_dict())
    return ours, published


def test_region_mlp_equals_vse_infinity_in_training_and_evaluation():
    ours, published = region_encoders()
    regions = torch.randn(5, 3, 10, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(5, 3, dtype=torch.bool)
    for train in (True, True, False):
        ours.train(train)
        published.train(train)
        expected = published(regions) + ours.fc(regions)
        actual = ours(regions, mask)
        torch.testing.assert_close(actual, expected)
        assert_same_gradients(actual, expected, [regions], atol=1e-9, rtol=1e-7)
    torch.testing.assert_close(ours.norm.running_mean, published.bns[0].running_mean)
    torch.testing.assert_close(ours.norm.running_var, published.bns[0].running_var)


def test_region_mlp_leaves_padding_out_of_its_statistics():
    """Real regions get what they would get in a batch without padding, and the running statistics too."""
    ours, published = region_encoders()
    ours.train()
    published.train()
    regions, mask = torch.randn(4, 3, 10, dtype=torch.float64), torch.ones(4, 3, dtype=torch.bool)
    mask[0, 1:] = mask[3, 2] = False
    real = regions[mask][None]
    expected = published(real) + ours.fc(real)
    torch.testing.assert_close(ours(regions, mask)[mask][None], expected)
    torch.testing.assert_close(ours.norm.running_var, published.bns[0].running_var)


@pytest.mark.parametrize("real", [0, 1])
def test_region_mlp_with_too_few_regions_for_statistics(real):
    ours, _ = region_encoders()
    ours.train()
    mask = torch.zeros(1, 3, dtype=torch.bool)
    mask[0, :real] = True
    assert ours(torch.randn(1, 3, 10, dtype=torch.float64), mask).isfinite().all()
    assert ours.norm.num_batches_tracked == 0


def test_weights_without_batch_norm_keep_their_keys():
    keys = DualEncoder(**DATA, embed_dim=8, word_dim=5).state_dict()
    assert {key for key in keys if key.startswith("region_encoder")} == {
        f"region_encoder.{name}" for name in ("fc.weight", "fc.bias", "mlp.0.weight", "mlp.0.bias")
    } | {"region_encoder.mlp.3.weight", "region_encoder.mlp.3.bias"}


def published_attention(query: torch.Tensor, context: torch.Tensor, smooth: float) -> torch.Tensor:
    """``func_attention`` of SCAN (kuanghuei/SCAN, ``model.py``) with ``raw_feature_norm="clipped_l2norm"``."""
    attn = torch.bmm(context, query.transpose(1, 2))  # (batch, context, query)
    attn = nn.LeakyReLU(0.1)(attn)
    attn = attn / (attn.pow(2).sum(dim=2, keepdim=True).sqrt() + 1e-8)
    attn = functional.softmax(attn.transpose(1, 2) * smooth, dim=2)
    return torch.bmm(context.transpose(1, 2), attn.transpose(1, 2)).transpose(1, 2)


@pytest.mark.parametrize(("direction", "smooth"), [("t2i", 9.0), ("i2t", 4.0)])
def test_leaky_clip_equals_the_published_scan(direction, smooth):
    torch.manual_seed(0)
    model = SCAN(**DATA, embed_dim=8, word_dim=5, direction=direction, smooth=smooth, clip="leaky_relu").double()
    data = random_pairs(seed=0, images=4, captions=5, words=6)
    images = model.encode_images(data.regions.double(), data.region_mask)
    texts = model.encode_texts(data.token_ids, data.token_mask)
    columns = []
    for words, real in zip(texts.tokens, texts.mask, strict=True):
        row = []
        for regions, kept in zip(images.tokens, images.mask, strict=True):
            sides = (words[real][None], regions[kept][None])
            query, context = sides if direction == "t2i" else sides[::-1]
            attended = published_attention(query, context, smooth)
            row.append(functional.cosine_similarity(query, attended, dim=2).mean())
        columns.append(torch.stack(row))
    actual, expected = model.similarity(images, texts), torch.stack(columns, dim=1)
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=0)
    assert (actual - data_with("relu", model, images, texts)).abs().max() > 1e-4, "the clip makes no difference here"


def data_with(clip: str, model: SCAN, images, texts) -> torch.Tensor:
    other = SCAN(**DATA, embed_dim=8, word_dim=5, direction=model.direction, smooth=model.smooth, clip=clip).double()
    other.load_state_dict(model.state_dict())
    return other.similarity(images, texts)
