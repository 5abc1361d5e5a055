import re

import pytest
from rich.console import Console
from scipy import stats

from tangka_match.sweeps.manifest import JobRecord
from tangka_match.sweeps.tables import (
    best_jobs,
    describe_failures,
    interval_of_mean,
    intervals_of_means,
    jobs_table,
    mean_and_std,
    seeds_table,
)


def test_interval_of_mean_matches_scipy():
    values = [36.1, 38.4, 37.2, 39.9]
    means, std = mean_and_std([{"rsum": value} for value in values])
    expected = stats.t.interval(0.95, 3, loc=sum(values) / 4, scale=stats.sem(values))
    assert interval_of_mean(means["rsum"], std["rsum"], 4) == pytest.approx(expected, rel=1e-12)


def test_intervals_are_clipped_to_the_range_of_the_metric():
    means, std = mean_and_std([{"mean_r1": 1.0, "i2t_median_rank": 2.0}, {"mean_r1": 3.0, "i2t_median_rank": 9.0}])
    assert interval_of_mean(means["mean_r1"], std["mean_r1"], 2) == pytest.approx((-10.7, 14.7), abs=0.1)
    intervals = intervals_of_means(means, std, 2)
    assert intervals["mean_r1"] == pytest.approx((0.0, 14.7), abs=0.1)
    assert intervals["i2t_median_rank"][0] == 1.0


def test_single_seed_has_no_std():
    assert mean_and_std([{"rsum": 3.0}]) == ({"rsum": 3.0}, {})


def test_metric_that_one_seed_lacks_is_left_out():
    assert mean_and_std([{"rsum": 1.0, "step_seconds": 0.1}, {"rsum": 3.0}])[0] == {"rsum": 2.0}


def job(number, override, status="finished", **end):
    return JobRecord(number, ["+experiment=debug", override], starts=1, end={"status": status, **end})


JOBS = [
    job(0, "optimizer.lr=0.00123456789", metrics={"mean_r1": 30.0}, std={"mean_r1": 1.5}, runs=["a", "b"]),
    job(1, "optimizer.lr=0.1", metrics={"mean_r1": 32.25}, runs=["c"], reused=True),
    job(2, "optimizer.lr=9", "failed", error="RuntimeError: out of memory", runs=[]),
    JobRecord(3, ["+experiment=debug", "optimizer.lr=0.2"]),
]


def text_of(table, width=140):
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_row_shows_differing_overrides_status_and_metric():
    text = text_of(jobs_table(JOBS, title="sweep x", columns=["mean_r1"], best={1}))
    assert "+experiment" not in text
    assert re.search(r"0 │ optimizer\.lr=0\.001235 +│ finished +│ 30\.00 ± 1\.50 │ a", text)
    assert re.search(r"1 │ optimizer\.lr=0\.1 +│ finished before │ +32\.25 │ c", text)
    assert re.search(r"2 │ optimizer\.lr=9 +│ failed +│ +– │", text)
    assert re.search(r"3 │ optimizer\.lr=0\.2 +│ waiting +│ +– │", text)


def test_run_ids_are_not_wrapped_in_narrow_terminal():
    ids = ["20261124-034512-3fa9c1-7be2", "20261124-034514-90a2c1-0b42"]
    jobs = [job(n, f"optimizer.lr={n}.00123456789", metrics={"mean_r1": 1.0}, runs=[ids[n]]) for n in (0, 1)]
    text = text_of(jobs_table(jobs, title="sweep x", columns=["mean_r1", "rsum"], best={1}), 80)
    assert re.search(r"│ 20261124-034512 │\n", text)
    assert re.search(r"│ 20261124-034514 │\n", text)
    assert text.count("finished") == 2


def test_lists_in_overrides_are_not_taken_for_markup():
    jobs = [job(0, "tags=[a,b]"), job(1, "tags=[/c/d]")]
    text = text_of(jobs_table(jobs, title="sweep x", columns=["mean_r1"], best=set()))
    assert "tags=[a,b]" in text
    assert "tags=[/c/d]" in text


def test_failures_name_job_and_reason():
    assert describe_failures(JOBS) == [
        "job 2 (+experiment=debug optimizer.lr=9): RuntimeError: out of memory",
        "job 3 (+experiment=debug optimizer.lr=0.2): reason unknown",
    ]


def test_best_job_has_highest_or_lowest_value():
    costs = [job(n, f"a={n}", metrics={"parameters": p}) for n, p in enumerate((5, 3, 4))]
    assert best_jobs(JOBS, "mean_r1") == {1}
    assert best_jobs(costs, "parameters") == {1}
    assert best_jobs(JOBS[2:], "mean_r1") == set()


def test_seeds_table_shows_mean_std_and_interval():
    names = [f"{d}_r{k}" for d in ("i2t", "t2i") for k in (1, 5, 10)] + ["mean_r1", "rsum"]
    text = text_of(seeds_table(dict.fromkeys(names, 38.0), dict.fromkeys(names, 2.0), 3, title="t"))
    assert re.search(r"mean_r1 +│ 38\.00 +│ +2\.00 │ 33\.03 – 42\.97", text)
    assert "over 3 seeds" in text


def test_searched_settings_are_shown_although_all_trials_share_them():
    jobs = [JobRecord(n, ["seed=1", "model.embed_dim=64"], {"model.embed_dim": "64"}) for n in (0, 1)]
    text = text_of(jobs_table(jobs, title="study x", columns=["mean_r1"], best=set()))
    assert text.count("model.embed_dim=64") == 2
    assert "seed" not in text
