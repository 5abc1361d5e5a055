"""`TextTower`: the mask that it hands to the library."""

import pytest
import torch

from helpers.tiny_pretrained import TEXT
from helpers.waits import no_waits
from tangka_match.models.text_tower import TextTower

pytest.importorskip("transformers")

KINDS = {
    "bert": {**TEXT, "model_type": "bert"},
    "ernie": {**TEXT, "model_type": "ernie"},
    "chinese_clip": {"model_type": "chinese_clip", "text_config": TEXT},
}
LENGTHS = torch.tensor([7, 1, 4])


@pytest.fixture(params=list(KINDS))
def tower(request):
    torch.manual_seed(0)
    return TextTower(KINDS[request.param], 20, lr_multiplier=1.0, thaw_at=0).eval()


@pytest.fixture
def captions():
    mask = torch.arange(7) < LENGTHS[:, None]
    return torch.randint(4, 20, mask.shape, generator=torch.Generator().manual_seed(0)) * mask, mask


def test_equals_the_library_with_a_mask_over_words(tower, captions):
    ids, mask = captions
    expected = tower.transformer(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(tower(ids, mask)[mask], expected[mask])


def test_padding_has_no_influence(tower, captions):
    ids, mask = captions
    torch.testing.assert_close(tower(torch.where(mask, ids, 9), mask)[mask], tower(ids, mask)[mask])


def test_does_not_wait_for_the_device(tower, captions):
    """Given a mask over words, transformers asks the device whether all of them are real."""
    ids, mask = captions
    with no_waits():
        tower(ids, mask).sum().backward()
    with pytest.raises(AssertionError, match="wait"), no_waits():
        tower.transformer(input_ids=ids, attention_mask=mask.long())


def test_half_precision(tower, captions):
    with torch.autocast("cpu", torch.bfloat16):
        found = tower(*captions)
    torch.testing.assert_close(found.float()[captions[1]], tower(*captions)[captions[1]], atol=0.1, rtol=0.1)
