import pytest
import torch

from helpers.scored import make_scored
from tangka_match.analysis.diagnosis.model.hubs import count_hubs, judge_hubs, k_occurrence, skewness
from tangka_match.metrics import retrieval_ranks


def with_hub(size=40, item=7, share=0.5):
    """Return a perfect model, except that image ``item`` ranks first for a share of the captions."""
    scores = torch.eye(size) + 0.01 * torch.rand(size, size, generator=torch.Generator().manual_seed(0))
    scores[item, : int(share * size)] = 2.0
    return scores


def codes(findings):
    return [(finding.code, finding.severity) for finding in findings]


def test_k_occurrence_worked_example():
    """Three queries, three items: the first two rank item 0, then 1; the third item 2, then 0."""
    scores = torch.tensor([[0.9, 0.5, 0.1], [0.8, 0.7, 0.2], [0.4, 0.1, 0.6]])
    assert k_occurrence(scores, 1).tolist() == [2, 0, 1]
    assert k_occurrence(scores, 2).tolist() == [3, 2, 1]
    assert k_occurrence(scores, 3).tolist() == [3, 3, 3]


def test_k_occurrence_uses_the_tie_rule_of_ranks():
    scores = torch.zeros(4, 4)
    assert retrieval_ranks(scores, torch.arange(4)).t2i.tolist() == [4, 3, 2, 1]
    assert k_occurrence(scores, 1).tolist() == [0, 0, 0, 4]


def test_skewness_worked_example():
    """Counts 0, 0, 0, 4: deviations −1, −1, −1, 3; third moment 6, variance 3, so 6 / 3 ** 1.5."""
    assert skewness(torch.tensor([0, 0, 0, 4])) == pytest.approx(6 / 3**1.5)
    assert skewness(torch.tensor([0, 2, 4])) == pytest.approx(0.0)
    assert skewness(torch.tensor([3, 3, 3])) == 0.0


def test_planted_hub_is_reported_with_its_share():
    scored = make_scored(with_hub(share=0.5))
    hubs = count_hubs(scored)
    assert hubs["t2i"].strongest(1) == [7]
    assert int(hubs["t2i"].first[7]) == 20
    findings, gains = judge_hubs(scored, hubs)
    assert gains == {}
    (finding,) = [f for f in findings if f.code == "dominant_image"]
    assert finding.severity == "warning"
    assert "the image image-7 is the first answer of 20 of 40 captions (50 %)" in finding.seen
    assert finding.ids[0] == "image-7"
    assert finding.points == pytest.approx(47.5)


def test_item_ranked_first_by_most_queries_is_a_fault():
    scored = make_scored(with_hub(share=0.6))
    assert ("dominant_image", "fault") in codes(judge_hubs(scored, count_hubs(scored))[0])
    turned = make_scored(with_hub(share=0.6).T.contiguous())
    found = judge_hubs(turned, count_hubs(turned))[0]
    assert ("dominant_caption", "fault") in codes(found)
    assert next(f for f in found if f.code == "dominant_caption").ids[0] == "caption 8"


def test_model_without_hubs_has_no_findings():
    scored = make_scored(with_hub(share=0.0))
    hubs = count_hubs(scored)
    assert judge_hubs(scored, hubs)[0] == []
    assert hubs["t2i"].unanswered == 0.0


@pytest.mark.parametrize(("taken", "severity"), [(4, "warning"), (0, None)])
def test_cost_is_the_gain_of_the_best_correction(taken, severity):
    scores = with_hub(size=60, share=taken / 40)
    better = retrieval_ranks(torch.eye(60), torch.arange(60))
    scored = make_scored(scores, corrected={"nnn": better})
    found = {f.code: f for f in judge_hubs(scored, count_hubs(scored))[0]}
    if severity is None:
        assert "hubs" not in found
    else:
        gain = (scored.ranks.t2i > 1).double().mean().item() + (scored.ranks.i2t > 1).double().mean().item()
        assert found["hubs"].severity == severity
        assert found["hubs"].points == pytest.approx(100 * gain / 2)


def test_correction_without_gain_is_not_reported():
    right = torch.eye(40)
    scored = make_scored(right, corrected={"nnn": retrieval_ranks(right.flip(0), torch.arange(40))})
    findings, gains = judge_hubs(scored, count_hubs(scored))
    assert findings == []
    assert gains["nnn"].difference == -100.0


def test_image_ranked_first_by_its_own_captions_is_not_a_hub():
    """A perfect model on 8 images with five captions each: every image ranks first for 1/8 of the captions."""
    owners = [image for image in range(8) for _ in range(5)]
    scored = make_scored(torch.eye(8)[:, owners], owners)
    assert judge_hubs(scored, count_hubs(scored))[0] == []
