from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from helpers.small_runs import small_module
from tangka_match.errors import ConfigError
from tangka_match.training.optimisation import (
    cosine_factor,
    fused_on_gpu,
    parameter_groups,
    scale_rates,
    warmup_constant,
    warmup_cosine,
    warmup_step_decay,
)


class TwoSides(nn.Module):
    def __init__(self):
        super().__init__()
        self.text = nn.Linear(2, 3)
        self.text_head = nn.Linear(3, 3)
        self.frozen = nn.Linear(1, 1).requires_grad_(False)


def names(matcher, group):
    return [name for name, p in matcher.named_parameters() if any(p is q for q in group["params"])]


def test_longest_prefix_of_whole_names_applies():
    matcher = TwoSides()
    groups = parameter_groups(matcher, nn.Bilinear(1, 1, 1), {"text": 0.1, "text.bias": 0.5})
    found = [(names(matcher, g), g["lr_multiplier"], g.get("weight_decay")) for g in groups if names(matcher, g)]
    assert found == [
        (["text_head.weight"], 1.0, None),
        (["text_head.bias"], 1.0, 0.0),
        (["text.weight"], 0.1, None),
        (["text.bias"], 0.5, 0.0),
    ]


def test_schedule_keeps_the_multipliers():
    matcher = TwoSides()
    optimizer = torch.optim.SGD(parameter_groups(matcher, nn.Identity(), {"text": 0.1}), lr=2.0)
    scale_rates(optimizer)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    optimizer.step()
    schedule.step()
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([1.0, 1.0, 0.1, 0.1])


@pytest.mark.parametrize("prefix", ["image", "tex", "frozen"])
def test_prefix_without_a_trained_parameter_is_refused(prefix):
    with pytest.raises(ConfigError, match=rf"training\.lr_multipliers\.{prefix}: .*allowed: text, text_head, and"):
        parameter_groups(TwoSides(), nn.Identity(), {prefix: 0.1})


def test_module_uses_the_multipliers():
    module = small_module(lr_multipliers={"words": 0.25}, optimizer=partial(torch.optim.SGD, lr=4.0))
    module.trainer = type("Trainer", (), {"estimated_stepping_batches": 10, "precision_plugin": None})()
    groups = module.configure_optimizers()["optimizer"].param_groups
    rates = {name: g["lr"] for g in groups for name in names(module.matcher, g)}
    assert rates == {"project": 4.0, "words": 1.0}


def rates(make, steps, **arguments):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=2.0)
    schedule = make(optimizer, total_steps=steps, **arguments)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_cosine_rises_to_the_peak_and_ends_low():
    seen = rates(warmup_cosine, 100, warmup_steps=10, final_ratio=0.1)
    assert seen[:3] == pytest.approx([0.2, 0.4, 0.6])
    assert max(seen) == seen[9] == seen[10] == pytest.approx(2.0)
    assert seen[55] == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))  # half of the cosine, at step 10 + 90/2
    assert seen[-1] < 0.21


def test_step_decay_divides_at_the_published_epoch():
    # SGRAF on 2,910 pairs: 40 epochs of 22 steps, divided by 10 from epoch 30 on.
    seen = rates(warmup_step_decay, 880, warmup_steps=0, decay_at=[0.75], factor=0.1)
    assert (seen[659], seen[660]) == pytest.approx((2.0, 0.2))


def test_warm_up_longer_than_the_run_is_shortened_to_a_tenth_of_it():
    assert rates(warmup_constant, 20, warmup_steps=20)[:3] == pytest.approx([1.0, 2.0, 2.0])
    assert rates(warmup_constant, 2, warmup_steps=50) == pytest.approx([2.0, 2.0])


def test_constant_stays_at_the_peak():
    assert rates(warmup_constant, 6, warmup_steps=2) == pytest.approx([1.0, 2.0, 2.0, 2.0, 2.0, 2.0])


@settings(deadline=None, max_examples=50)
@given(total=st.integers(2, 500), warmup=st.integers(0, 400), ratio=st.floats(0, 1))
def test_cosine_never_leaves_its_range(total, warmup, ratio):
    warmup = min(warmup, total - 1)
    after = [cosine_factor(s, total, warmup, ratio) for s in range(warmup, total + 5)]
    assert all(ratio - 1e-9 <= a <= 1 for a in after)
    assert after == sorted(after, reverse=True)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (warmup_cosine, {"warmup_steps": -1, "final_ratio": 0.1}, r"warmup_steps=-1 must be >= 0"),
        (warmup_cosine, {"warmup_steps": 1, "final_ratio": 1.5}, r"final_ratio=1\.5.*\[0, 1\]"),
        (warmup_step_decay, {"warmup_steps": 0, "decay_at": [0.8, 0.5], "factor": 0.1}, r"decay_at=\[0\.8, 0\.5\]"),
        (warmup_step_decay, {"warmup_steps": 0, "decay_at": [0.8], "factor": 0.0}, r"factor=0\.0"),
    ],
)
def test_settings_out_of_range_are_refused(make, arguments, message):
    with pytest.raises(ConfigError, match=message):
        rates(make, 100, **arguments)


CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("factory", "device", "is_fused"),
    [
        (torch.optim.AdamW, GPU, True),
        (partial(torch.optim.Adam, lr=0.1), GPU, True),
        (torch.optim.AdamW, CPU, False),
        (torch.optim.RMSprop, GPU, False),
        (partial(torch.optim.AdamW, foreach=True), GPU, False),
        (partial(torch.optim.AdamW, fused=False), GPU, False),
    ],
)
def test_optimizers_are_fused_where_they_can_be(factory, device, is_fused):
    found = fused_on_gpu(factory, device, scales_loss=False)
    assert (isinstance(found, partial) and found.keywords.get("fused", False)) == is_fused


def test_scaled_gradients_are_not_fused():
    assert fused_on_gpu(torch.optim.AdamW, GPU, scales_loss=True) is torch.optim.AdamW
