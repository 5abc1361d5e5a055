from functools import partial

import pytest
import torch
from torch import nn

from helpers.small_runs import small_module
from tangka_match.errors import ConfigError
from tangka_match.training.parameter_groups import parameter_groups, scale_rates


class TwoSides(nn.Module):
    def __init__(self):
        super().__init__()
        self.text = nn.Linear(2, 3)
        self.text_head = nn.Linear(3, 3)
        self.frozen = nn.Linear(1, 1).requires_grad_(False)


def names(matcher, group):
    return [name for name, p in matcher.named_parameters() if any(p is q for q in group["params"])]


def test_the_longest_prefix_holds_and_whole_names_count():
    matcher = TwoSides()
    groups = parameter_groups(matcher, nn.Bilinear(1, 1, 1), {"text": 0.1, "text.bias": 0.5})
    said = [(names(matcher, g), g["lr_multiplier"], g.get("weight_decay")) for g in groups if names(matcher, g)]
    assert said == [
        (["text_head.weight"], 1.0, None),
        (["text_head.bias"], 1.0, 0.0),
        (["text.weight"], 0.1, None),
        (["text.bias"], 0.5, 0.0),
    ]


def test_rates_are_multiplied_under_the_schedule_too():
    matcher = TwoSides()
    optimizer = torch.optim.SGD(parameter_groups(matcher, nn.Identity(), {"text": 0.1}), lr=2.0)
    scale_rates(optimizer)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    optimizer.step()
    schedule.step()
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([1.0, 1.0, 0.1, 0.1])


@pytest.mark.parametrize("prefix", ["image", "tex", "frozen"])
def test_a_prefix_of_nothing_that_is_trained_is_a_fault(prefix):
    with pytest.raises(ConfigError, match=rf"training\.lr_multipliers\.{prefix}: .*its parts are text, text_head \("):
        parameter_groups(TwoSides(), nn.Identity(), {prefix: 0.1})


def test_the_module_asks_for_them():
    module = small_module(lr_multipliers={"words": 0.25}, optimizer=partial(torch.optim.SGD, lr=4.0))
    module.trainer = type("Trainer", (), {"estimated_stepping_batches": 10})()
    groups = module.configure_optimizers()["optimizer"].param_groups
    rates = {name: g["lr"] for g in groups for name in names(module.matcher, g)}
    assert rates == {"project": 4.0, "words": 1.0}
