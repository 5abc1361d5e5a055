import torch

from helpers.scored import make_scored
from tangka_match.analysis.diagnosis.model import section
from tangka_match.analysis.diagnosis.model.drawing import Album
from tangka_match.analysis.diagnosis.model.hubs import count_hubs


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
