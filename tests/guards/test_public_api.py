"""The names that ``tangka_match`` exports."""

from importlib import import_module
from pathlib import Path

import tangka_match

PUBLIC = {
    *("load", "Index", "TrainedMatcher", "Matcher", "Encoded", "list_models"),
    *("register_matcher", "register_loss", "register_optimizer"),
    *("register_scheduler", "register_callback", "register_tokenizer"),
    *("Split", "load_split", "evaluate_split", "EvaluationProtocol", "compare_ranks"),
    *(
        "Ranks",
        "RetrievalMetrics",
        "confidence_intervals",
        "mean_rank",
        "median_rank",
        "recall_at_k",
        "retrieval_ranks",
    ),
    *("AlignmentUniformityLoss", "BlendLoss", "CurriculumLoss", "HALLoss", "InfoNCELoss", "LossInputs", "LossTerms"),
    *(
        "MomentumQueueLoss",
        "MultiPositiveInfoNCELoss",
        "SigmoidLoss",
        "SoftLabelLoss",
        "TripletMarginLoss",
        "WordPredictionLoss",
    ),
}


def test_exports_exactly_these_names():
    assert set(tangka_match.__all__) == PUBLIC
    assert len(tangka_match.__all__) == len(PUBLIC)


def test_every_name_can_be_imported_and_is_listed():
    for name in PUBLIC:
        assert getattr(tangka_match, name) is not None
    assert set(dir(tangka_match)) >= PUBLIC


def test_no_function_has_the_name_of_a_module():
    """``from tangka_match import evaluate`` gives the module, whatever was imported before."""
    modules = {path.stem for path in Path(tangka_match.__file__).parent.iterdir()}
    assert not PUBLIC & modules
    assert import_module("tangka_match.evaluate") is tangka_match.evaluate
