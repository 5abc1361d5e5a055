from helpers.records import record_of
from helpers.run_folders import write_run
from tangka_match.analysis.report.verdicts import compare_with_best
from tangka_match.analysis.runs.seeds import fold_seeds


def recipes_of(tmp_path, *runs):
    for number, (r1, margin, seed, options) in enumerate(runs):
        write_run(
            tmp_path, f"r{number}", r1=r1, seed=seed, config={"loss": {"margin": margin}}, **{"ranks": True, **options}
        )
    return fold_seeds([record_of(tmp_path / f"r{number}") for number in range(len(runs))])


def compare(recipes, most=20):
    return compare_with_best(recipes, most, 1000)


def ids(runs):
    return [run.run_id for run in runs]


def test_single_runs_are_compared_with_the_best_single_run(tmp_path):
    verdicts = compare(recipes_of(tmp_path, (30, 0.1, 0, {}), (80, 0.2, 1, {}), (78, 0.3, 2, {})))
    assert [(ids(v.a), ids(v.b), v.better) for v in verdicts] == [(["r1"], ["r2"], None), (["r1"], ["r0"], "a")]
    assert verdicts[1].found.difference == -50.0


def test_seeds_are_compared_with_seeds(tmp_path):
    several = [(r1, margin, seed, {}) for r1, margin in ((30, 0.1), (80, 0.2)) for seed in range(3)]
    (verdict,) = compare(recipes_of(tmp_path, *several, (90, 0.3, 0, {})))
    assert (ids(verdict.a), ids(verdict.b), verdict.better) == (["r3", "r4", "r5"], ["r0", "r1", "r2"], "a")


def test_a_seed_without_ranks_is_left_out(tmp_path):
    several = [(r1, m, seed, {}) for r1, m in ((30, 0.1), (80, 0.2)) for seed in range(2)]
    unfinished = (30, 0.1, 2, {"ranks": False, "status": "failed"})
    (verdict,) = compare(recipes_of(tmp_path, *several, unfinished))
    assert ids(verdict.b) == ["r0", "r1"]


def test_a_pruned_run_is_not_compared(tmp_path):
    assert compare(recipes_of(tmp_path, (30, 0.1, 0, {"status": "pruned"}), (80, 0.2, 1, {}))) == []


def test_other_data_are_not_compared(tmp_path):
    assert compare(recipes_of(tmp_path, (30, 0.1, 0, {}), (80, 0.2, 1, {"data_fingerprint": "beef"}))) == []


def test_only_so_many(tmp_path):
    recipes = recipes_of(tmp_path, *((30 + n, n / 10, n, {}) for n in range(4)))
    assert [ids(v.b) for v in compare(recipes, most=2)] == [["r2"], ["r1"]]
    assert compare(recipes, most=0) == []


def test_a_damaged_table_is_a_reason_not_the_end(tmp_path):
    recipes = recipes_of(tmp_path, (30, 0.1, 0, {}), (80, 0.2, 1, {}))
    (tmp_path / "r0" / "ranks.csv").write_text("direction,query,image,rank\ni2t,x,x,first\n")
    (verdict,) = compare(recipes)
    assert (verdict.found, verdict.better) == (None, None)
    assert "line 2 has rank 'first'" in verdict.reason
