import math

from tangka_match.records.curves import best_validation, metric_curves


def metrics(step, **values):
    return {"event": "metrics", "step": step, "values": {k.replace("__", "/"): v for k, v in values.items()}}


EVENTS = [
    {"event": "start"},
    metrics(0, train__loss=1.0),
    metrics(4, train__loss=math.nan, val__mean_r1=3.0),
    metrics(9, train__loss=math.inf, val__mean_r1=math.nan),
    metrics(14, train__loss=0.5, val__mean_r1=3.0, val__rsum=9.0),
]


def test_curves_count_steps_done():
    curves = metric_curves(EVENTS)
    assert [list(numbers) for numbers in curves["val/rsum"]] == [[15], [9.0]]
    assert list(curves["train/loss"][0]) == [1, 5, 10, 15]


def test_finite_only_leaves_out_nan_and_infinity():
    curve = metric_curves(EVENTS, finite_only=True)["train/loss"]
    assert [list(numbers) for numbers in curve] == [[1, 15], [1.0, 0.5]]


def test_metric_without_finite_value_has_no_finite_curve():
    assert metric_curves([metrics(0, train__loss=math.nan)], finite_only=True) == {}


def test_best_validation_is_first_of_equal_ones_and_finite():
    step, values = best_validation(EVENTS)
    assert (step, values["val/mean_r1"]) == (5, 3.0)


def test_best_validation_before_first_one_is_none():
    assert best_validation(EVENTS[:2]) is None
