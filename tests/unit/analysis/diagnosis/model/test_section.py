import torch

from helpers.scored import make_scored
from tangka_match.analysis.diagnosis.model import section
from tangka_match.analysis.diagnosis.model.drawing import Album
from tangka_match.analysis.diagnosis.model.hubs import count_hubs
from tangka_match.analysis.diagnosis.model.scored import score_split


def test_one_query_is_singular():
    scored = make_scored(torch.eye(6))
    facts = dict(section._hub_facts(scored, count_hubs(scored)))
    assert "is the first answer of 1 image;" in facts["image→text: hubness of the top ten"]
    assert "is the first answer of 1 caption;" in facts["text→image: hubness of the top ten"]


def test_equal_worst_ranks_are_one_rank():
    scores = torch.eye(6)
    scores[0, 0], scores[1, 0] = 0.5, 0.6
    scored = make_scored(scores)
    facts = dict(section._worst_section(scored, Album(scored.split)).facts)
    assert facts["text→image: the worst 1"] == "rank 2"


def test_the_joint_space_is_that_of_the_vectors_without_their_correction(small_matchers, small_set, monkeypatch):
    """The two components of the correction would add to the modality gap and to the dimensions."""
    seen = []
    monkeypatch.setattr(section, "measure_space", lambda images, texts, *_: seen.extend([images.pooled, texts.pooled]))
    scored = score_split(small_matchers["hubs"], small_set, bank=None)
    section.diagnose_model(small_matchers["hubs"], scored, [caption.split() for caption in small_set.captions])
    assert [part.shape for part in seen] == [(12, 8), (12, 8)]
    assert scored.images.pooled.shape == (12, 10)
