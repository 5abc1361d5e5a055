import pytest
import torch

from helpers.scored import make_scored
from tangka_match.analysis.diagnosis.model.collapse import judge_collapse


def noise(seed=0, size=60):
    return torch.rand(size, size, generator=torch.Generator().manual_seed(seed))


def test_constant_scores_are_named():
    finding = judge_collapse(make_scored(torch.full((40, 40), 0.5)))
    assert (finding.code, finding.severity) == ("collapsed", "fault")
    assert "all 1,600 scores of val are 0.5 " in finding.seen
    assert "at place 20 of 40 on average, 20.5 is chance" in finding.seen


def test_scores_that_differ_by_rounding_alone_have_collapsed():
    finding = judge_collapse(make_scored(0.5 + 1e-6 * noise()))
    assert finding.code == "collapsed"
    assert "lie between 0.5 and 0.500001" in finding.seen


def test_noise_ranks_as_chance_does():
    assert judge_collapse(make_scored(noise())).code == "chance"


@pytest.mark.parametrize("scale", [1.0, 1e-4], ids=["wide", "narrow scores that rank well"])
def test_a_weak_model_is_no_chance(scale):
    assert judge_collapse(make_scored(scale * (noise() + 0.5 * torch.eye(60)))) is None


def test_a_model_that_is_always_right_is_no_chance_however_few_the_images():
    assert judge_collapse(make_scored(torch.eye(4))) is None


def test_noise_is_hardly_ever_called_a_model():
    judged = [judge_collapse(make_scored(noise(seed))) for seed in range(200)]
    assert sum(finding is None for finding in judged) <= 2
