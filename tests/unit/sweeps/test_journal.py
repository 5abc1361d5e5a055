import multiprocessing

import optuna
import pytest

from tangka_match.sweeps.journal import JournalFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.log"


def test_what_others_append_is_read_on(path):
    one, two = JournalFile(path), JournalFile(path)
    one.append_logs([{"op_code": 1}, {"op_code": 2}])
    assert list(two.read_logs(1)) == [{"op_code": 2}]
    one.append_logs([{"op_code": 3}])
    assert list(two.read_logs(2)) == [{"op_code": 3}]
    assert list(JournalFile(path).read_logs(0)) == [{"op_code": 1}, {"op_code": 2}, {"op_code": 3}]


@pytest.mark.parametrize("damage", [b'{"op_code": 4', b"\xff\xfe", b"[]", b"{}"])
def test_damaged_lines_are_skipped_and_counted_once(path, damage):
    journal = JournalFile(path)
    journal.append_logs([{"op_code": 1}])
    with path.open("ab") as file:
        file.write(damage)
    assert (list(journal.read_logs(0)), journal.corrupt) == ([{"op_code": 1}], 0)  # it may still be being written
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
