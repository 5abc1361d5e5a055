import pytest
import torch

from helpers.scored import make_scored
from tangka_match.analysis.diagnosis.model.chance import is_at_chance, judge_collapse, judge_direction
from tangka_match.analysis.diagnosis.model.hubs import count_hubs


def noise(seed=0, size=60):
    return torch.rand(size, size, generator=torch.Generator().manual_seed(seed))


def test_constant_scores_have_collapsed():
    finding = judge_collapse(make_scored(torch.full((40, 40), 0.5)))
    assert (finding.code, finding.severity) == ("collapsed", "fault")
    assert "all 1,600 scores of val are 0.5 " in finding.seen
    assert "is 20 of 40, and 20.5 is chance level" in finding.seen


def test_scores_with_rounding_differences_have_collapsed():
    finding = judge_collapse(make_scored(0.5 + 1e-6 * noise()))
    assert finding.code == "collapsed"
    assert "are between 0.5 and 0.500001" in finding.seen


def test_noise_is_at_chance_level():
    assert judge_collapse(make_scored(noise())).code == "chance"


@pytest.mark.parametrize("scale", [1.0, 1e-4], ids=["wide", "narrow scores that rank well"])
def test_weak_model_is_above_chance(scale):
    assert judge_collapse(make_scored(scale * (noise() + 0.5 * torch.eye(60)))) is None


def test_perfect_ranking_of_few_images_is_not_chance():
    assert judge_collapse(make_scored(torch.eye(4))) is None


def test_false_positive_rate_of_noise():
    judged = [judge_collapse(make_scored(noise(seed))) for seed in range(200)]
    assert sum(finding is None for finding in judged) <= 2


def one_sided(size=60):
    """Return scores in which each image has a level of its own: i2t is perfect, but captions rank all images alike."""
    levels = torch.randperm(size, generator=torch.Generator().manual_seed(1))
    return torch.eye(size) + 5.0 * levels[:, None]


def test_only_text_to_image_at_chance_is_said_with_its_hub():
    scored = make_scored(one_sided())
    assert judge_collapse(scored) is None
    finding = judge_direction(scored, count_hubs(scored))
    hub = int(one_sided()[:, 0].argmax())
    assert (finding.code, finding.severity) == ("chance_t2i", "fault")
    assert "only text→image is at chance level, while image→text R@1 is 100.0 %" in finding.seen
    assert f"image image-{hub} is ranked first for 60 of 60 captions" in finding.seen


def test_only_image_to_text_at_chance():
    scored = make_scored(one_sided().T.contiguous())
    finding = judge_direction(scored, count_hubs(scored))
    assert finding.code == "chance_i2t"
    assert "is ranked first for 60 of 60 images" in finding.seen


@pytest.mark.parametrize("scores", [torch.eye(60), torch.rand(60, 60)], ids=["perfect", "noise"])
def test_both_directions_alike_are_not_one_sided(scores):
    scored = make_scored(scores)
    if judge_collapse(scored) is None:
        assert judge_direction(scored, count_hubs(scored)) is None


def test_chance_level_of_several_captions_per_image():
    """The best of five captions is far better than the middle rank by chance; this is not mistaken for skill."""
    owners = [image for image in range(40) for _ in range(5)]
    judged = []
    for seed in range(100):
        scores = torch.rand(40, 200, generator=torch.Generator().manual_seed(seed))
        scored = make_scored(scores, owners)
        judged.append(is_at_chance(scored, "i2t") and is_at_chance(scored, "t2i"))
    assert sum(judged) >= 98
