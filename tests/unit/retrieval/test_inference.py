import pytest
import torch
from torch import nn

from helpers.stub_matchers import PooledMatcher
from tangka_match.retrieval.inference import device_of, inference

CPU = torch.device("cpu")


def test_evaluation_without_gradients_and_autocast():
    matcher = PooledMatcher()
    with torch.autocast("cpu", dtype=torch.bfloat16), inference(matcher, CPU):
        assert not matcher.training
        assert not matcher.dropout.training
        assert torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")


def test_modes_come_back_module_by_module_even_after_an_error():
    matcher = PooledMatcher()
    matcher.dropout.eval()
    with pytest.raises(KeyError), inference(matcher, CPU):
        raise KeyError
    assert matcher.training
    assert not matcher.dropout.training


def test_device_is_that_of_the_parameters():
    matcher = nn.Linear(2, 2, device="meta")
    assert device_of(matcher, CPU).type == "meta"
    assert device_of(nn.Identity(), CPU) == CPU
