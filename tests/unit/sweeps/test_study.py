import multiprocessing
from contextlib import closing

import optuna
import pytest
from optuna.trial import TrialState

from helpers.sweep_settings import sweep_settings
from tangka_match.sweeps.folder import open_sweep
from tangka_match.sweeps.space import choices, interval
from tangka_match.sweeps.study import JournalFile, Study, TrialReporter


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.log"


def test_journal_reads_lines_appended_by_other_processes(path):
    one, two = JournalFile(path), JournalFile(path)
    one.append_logs([{"op_code": 1}, {"op_code": 2}])
    assert list(two.read_logs(1)) == [{"op_code": 2}]
    one.append_logs([{"op_code": 3}])
    assert list(two.read_logs(2)) == [{"op_code": 3}]
    assert list(JournalFile(path).read_logs(0)) == [{"op_code": 1}, {"op_code": 2}, {"op_code": 3}]


OVERSIZED = b'{"op_code": 4, "name": "' + 300_000 * b"x" + b'"}'


@pytest.mark.parametrize("damage", [b'{"op_code": 4', b"\xff\xfe", b"[]", b"{}", b'{"op_code": "4"}', OVERSIZED])
def test_damaged_journal_line_is_skipped_and_counted_once(path, damage):
    journal = JournalFile(path)
    journal.append_logs([{"op_code": 1}])
    with path.open("ab") as file:
        file.write(damage)
    assert (list(journal.read_logs(0)), journal.corrupt) == ([{"op_code": 1}], 0)  # it may still be incomplete
    journal.append_logs([{"op_code": 5}])
    assert list(journal.read_logs(0)) == [{"op_code": 1}, {"op_code": 5}]
    assert list(journal.read_logs(1)) == [{"op_code": 5}]
    assert journal.corrupt == 1


def add_trials(path, count):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna.storages.JournalStorage(JournalFile(path))
    study = optuna.create_study(study_name="s", storage=storage, load_if_exists=True)
    for _ in range(count):
        study.tell(study.ask(), 1.0)


def test_two_processes_add_trials_to_one_study(path):
    add_trials(path, 0)
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=add_trials, args=(path, 10)) for _ in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    study = optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(JournalFile(path)))
    assert [trial.number for trial in study.trials] == list(range(20))
    assert all(trial.value == 1.0 for trial in study.trials)


SPACE = [interval("loss.margin", 0.0, 1.0), choices("model", ["a", "b"])]


@pytest.fixture
def opened(tmp_path):
    """Return a function that opens the study like a restarted command."""

    def open_(space=SPACE, **settings):
        sweep = open_sweep(tmp_path, "s", "study", {"space": "x"})
        return sweep, Study(sweep, space, sweep_settings(**settings))

    return open_


def metrics_of(params):
    return {"mean_r1": 10 * params.get("loss.margin", 0), "parameters": {"a": 5, "b": 50}[params.get("model", "a")]}


def finish(sweep, study, trial, status="finished", metrics=None, **end):
    """Write what the job writes, and tell the study."""
    manifest = sweep.folder.manifest
    manifest.write("job", job=trial.number, overrides=trial.overrides, params=trial.params)
    metrics = metrics or metrics_of(trial.params)
    manifest.write("end", job=trial.number, status=status, runs=["r"], metrics=metrics, **end)
    study.tell(manifest.read().jobs[trial.number])


def do(sweep, study, count=None):
    """Run ``count`` trials to their end, or all trials."""
    numbers = []
    while (count is None or len(numbers) < count) and (trial := study.ask()):
        finish(sweep, study, trial)
        numbers.append(trial.number)
    return numbers


def test_total_includes_trials_before_a_restart(opened):
    sweep, study = opened(n_trials=5)
    assert do(sweep, study, 3) == [0, 1, 2]
    study.close()
    sweep.lock.close()
    sweep, study = opened(n_trials=5)
    assert do(sweep, study) == [3, 4]
    sweep, study = opened(n_trials=7)
    assert do(sweep, study) == [5, 6]
    assert do(*opened(n_trials=7)) == []


def test_restarted_study_proposes_the_same_trials(tmp_path):
    def params(folder, parts):
        for count in parts:
            sweep = open_sweep(folder, "s", "study", {})
            with closing(Study(sweep, SPACE, sweep_settings(n_trials=14, sampler_seed=3))) as study:
                do(sweep, study, count)
                sweep.lock.close()
                found = [trial.params for trial in study.trials]
        return found

    uninterrupted = params(tmp_path / "a", [14])
    assert uninterrupted == params(tmp_path / "b", [4, 8, 2])
    assert len({trial["loss.margin"] for trial in uninterrupted}) == 14


def test_killed_trial_is_repeated_under_the_next_number(opened):
    sweep, study = opened(n_trials=3)
    do(sweep, study, 1)
    killed = study.ask()
    study.close()  # as after a kill
    sweep, study = opened(n_trials=3)
    assert study.reap_stale_trials() == [1]
    assert study.reap_stale_trials() == []
    again = study.ask()
    assert (again.number, again.params) == (2, killed.params)
    finish(sweep, study, again)
    assert do(sweep, study) == [3]
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert sweep.folder.manifest.read().jobs[1].status == "stopped"


def test_ended_trial_missing_in_optuna_is_told_and_not_stale(opened):
    sweep, study = opened(n_trials=2)
    trial = study.ask()
    sweep.folder.manifest.write("job", job=0, overrides=trial.overrides, params=trial.params)
    sweep.folder.manifest.write("end", job=0, status="finished", runs=["r"], metrics=metrics_of(trial.params))
    study.close()
    sweep, study = opened(n_trials=2)
    assert study.reap_stale_trials() == []
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]
    assert sweep.folder.manifest.read().jobs[0].status == "finished"


def test_ended_trial_without_its_objective_is_told_as_failed(opened):
    sweep, study = opened(n_trials=2)
    trial = study.ask()
    sweep.folder.manifest.write("job", job=0, overrides=trial.overrides, params=trial.params)
    sweep.folder.manifest.write("end", job=0, status="finished", runs=["r"], metrics={"other": 1.0})
    study.close()
    sweep, study = opened(n_trials=2)
    assert study.reap_stale_trials() == []
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


def test_trials_of_a_running_process_are_not_stale(opened):
    _, one = opened(n_trials=2)
    one.ask()
    _, two = opened(n_trials=2)
    assert two.reap_stale_trials() == []
    assert two.ask().number == 1
    assert two.ask() is one.ask() is None


def test_job_that_outlives_its_controller_is_not_stale(opened):
    sweep, study = opened()
    trial = study.ask()
    study.close()
    _, study = opened()
    with sweep.folder.hold_job(trial.number):
        assert study.reap_stale_trials() == []
    assert study.reap_stale_trials() == [0]


def test_failed_trial_counts(opened):
    sweep, study = opened(n_trials=2)
    finish(sweep, study, study.ask(), status="failed", error="boom")
    assert do(sweep, study) == [1]
    assert study.best() == {1}


def test_grid_visits_every_point_once(opened):
    space = [choices("model", ["a", "b"]), interval("loss.margin", 0.0, 1.0, step=0.5)]
    sweep, study = opened(space, sampler="grid", n_trials=100)
    assert len(do(sweep, study)) == study.total == 6
    assert len({tuple(sorted(trial.params.items())) for trial in study.trials}) == 6


def test_grid_with_damaged_journal_visits_every_point_once(opened):
    space = [choices("model", ["a", "b"]), interval("loss.margin", 0.0, 1.0, step=0.5)]
    grid = {"sampler": "grid", "n_trials": 100}
    sweep, study = opened(space, **grid)
    do(sweep, study, 2)
    finish(sweep, study, study.ask(), status="failed", error="boom")
    killed = study.ask()
    study.close()
    sweep.lock.close()
    lines = sweep.folder.journal.read_bytes().splitlines(keepends=True)
    (created,) = [n for n, line in enumerate(lines) if b'"op_code":4' in line][1:2]
    sweep.folder.journal.write_bytes(b"".join([*lines[:created], b"\x00 damaged\n", *lines[created + 1 :]]))
    sweep, study = opened(space, **grid)
    study.reap_stale_trials()
    rest = do(sweep, study)
    assert len(rest) == 3
    assert min(rest) > killed.number - 1
    done = [tuple(job.params.items()) for job in sweep.folder.manifest.read().jobs.values()]
    assert len(done) == len(set(done)) == 6
    assert tuple(killed.params.items()) in done


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "random", "grid"])
@pytest.mark.parametrize(
    "space",
    [
        [choices("model", ["a", "b"])],
        [choices("model", ["a", "b"]), interval("loss.margin", 0.0, 0.3, step=0.1)],
        [interval("loss.margin", 1, 3, whole=True), interval("x", 1, 4, whole=True, log=True)],
    ],
)
def test_finite_space_is_exhausted_without_repetition(opened, sampler, space):
    sweep, study = opened(space, sampler=sampler, n_trials=100)
    assert len(do(sweep, study)) == study.total == study.points == study.done
    assert len({tuple(trial.params.values()) for trial in study.trials}) == len(study.trials) == study.points


def test_continued_study_counts_repeated_points_once(opened):
    """Studies of earlier versions can hold them."""
    space = [choices("model", ["a", "b"])]
    _, study = opened(space, n_trials=2)
    for _ in range(2):
        study._study.enqueue_trial({"model": "b"})
        trial = study._study.ask({"model": space[0].distribution})
        study._study.tell(trial, 1.0)
    assert (study.done, study.total) == (1, 2)
    assert [study.ask().params, study.ask()] == [{"model": "a"}, None]


@pytest.mark.parametrize("sampler", ["random", "tpe", "cmaes"])
def test_sampler_seeds_are_independent(tmp_path, sampler):
    found = []
    for seed in range(4):
        sweep = open_sweep(tmp_path / str(seed), "s", "study", {})
        study = Study(sweep, SPACE[:1], sweep_settings(sampler=sampler, sampler_seed=seed, n_trials=4))
        do(sweep, study)
        found += [trial.params["loss.margin"] for trial in study.trials]
    assert len(set(found)) == 16


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "random"])
def test_samplers_stay_in_the_space(opened, sampler):
    space = [interval("a", 1e-4, 1e-2, log=True), interval("b", 0.0, 1.0), interval("c", 2, 8, whole=True, step=2)]
    sweep, study = opened(space, sampler=sampler, n_trials=15)
    do(sweep, study)
    for trial in study.trials:
        assert 1e-4 <= trial.params["a"] <= 1e-2
        assert trial.params["c"] in (2, 4, 6, 8)
    assert len({trial.params["b"] for trial in study.trials}) == 15


def test_tpe_improves_on_random_trials(opened):
    sweep, study = opened([interval("loss.margin", 0.0, 1.0)], n_trials=25)
    do(sweep, study)
    values = [trial.value for trial in study.trials]
    assert sum(values[15:]) / 10 > sum(values[:10]) / 10 + 1
    assert study.best() == {values.index(max(values))}


def test_best_of_several_objectives_is_the_pareto_front(opened):
    space = [choices("loss.margin", ["0.1", "0.9"]), choices("model", ["a", "b"])]
    sweep, study = opened(space, sampler="grid", objectives=["mean_r1", "parameters"])
    while trial := study.ask():
        by_name = {"loss.margin": float(trial.params["loss.margin"]), "model": trial.params["model"]}
        metrics = metrics_of(by_name) | {"mean_r1": 10 * by_name["loss.margin"] + (by_name["model"] == "b")}
        sweep.folder.manifest.write("end", job=trial.number, status="finished", metrics=metrics)
        study.tell(sweep.folder.manifest.read().jobs[trial.number])
    front = {tuple(study.trials[number].params.values()) for number in study.best()}
    assert front == {("0.9", "a"), ("0.9", "b")}  # b costs parameters and gains a point of mean_r1


def report(sweep, trial, values, **settings):
    reporter = TrialReporter(sweep.folder, trial.number, sweep_settings(**settings))
    return [reporter(epoch, value) for epoch, value in enumerate(values)]


def test_trial_below_the_median_of_its_epoch_is_pruned(opened):
    sweep, study = opened()
    settings = {"prune_after_trials": 2, "prune_after_epochs": 2}
    for values in ([1, 5, 9, 9], [1, 5, 8, 8]):
        trial = study.ask()
        assert report(sweep, trial, values, **settings) == [False] * 4
        finish(sweep, study, trial)
    assert report(sweep, study.ask(), [0, 1, 8.8, 8.8], **settings) == [False, False, False, False]
    lagging = study.ask()
    assert report(sweep, lagging, [0, 1, 2, 2], **settings) == [False, False, True, True]
    finish(sweep, study, lagging, status="pruned")
    assert study.trials[3].state == TrialState.PRUNED


def test_trial_above_the_median_is_pruned_if_lower_is_better(opened):
    settings = {"objectives": ["t2i_mean_rank"], "prune_after_trials": 2, "prune_after_epochs": 0}
    sweep, study = opened(**settings)
    for values in ([90, 20], [90, 30]):
        trial = study.ask()
        assert report(sweep, trial, values, **settings) == [False, False]
        finish(sweep, study, trial, metrics={"t2i_mean_rank": values[-1]})
    assert report(sweep, study.ask(), [90, 10], **settings) == [False, False]
    assert report(sweep, study.ask(), [90, 40], **settings) == [False, True]


def test_report_of_a_removed_stale_trial_is_ignored(opened):
    sweep, study = opened()
    trial = study.ask()
    study.close()
    _, study = opened()
    study.reap_stale_trials()
    assert report(sweep, trial, [1.0]) == [False]


@pytest.mark.parametrize("damage", [b"\x00\x00 damaged\n", b'{"op_code": 4, "worker_id": "w"}\n', b'{"op_code": 99}\n'])
def test_journal_with_lost_line_is_rebuilt_from_the_manifest(opened, damage):
    sweep, study = opened(n_trials=6)
    finish(sweep, study, study.ask(), reports={"0": 1.0})
    do(sweep, study, 2)
    pruned = study.ask()
    report(sweep, pruned, [1.0, 2.0])
    finish(sweep, study, pruned, status="pruned", reports={"0": 1.0, "1": 2.0})
    before = [(trial.number, trial.params, trial.state, trial.value) for trial in study.trials]
    study.close()
    sweep.lock.close()
    lines = sweep.folder.journal.read_bytes().splitlines(keepends=True)
    (created,) = [n for n, line in enumerate(lines) if b'"op_code":4' in line][1:2]  # of trial 1
    lines[created] = damage
    sweep.folder.journal.write_bytes(b"".join(lines))
    sweep, study = opened(n_trials=6)
    assert [(trial.number, trial.params, trial.state, trial.value) for trial in study.trials] == before
    assert len(list(sweep.folder.path.glob("journal.damaged-*.log"))) == 1
    assert do(sweep, study) == [4, 5]
