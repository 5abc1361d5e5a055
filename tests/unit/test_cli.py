import errno

import pytest

from helpers.cli import run_cli_in_process
from tangka_match.cli import run_cli
from tangka_match.errors import DataFormatError, TrainingError


def run(task, *words):
    return run_cli_in_process(*words, main=lambda: run_cli(task, "config"))


def raise_(error):
    def task(config):
        raise error

    return task


def test_the_task_gets_the_composed_config():
    seen = []
    done = run(seen.append, "+experiment=debug", "seed=3")
    assert (done.code, done.stderr) == (0, "")
    assert [(config.name, config.seed) for config in seen] == [("debug", 3)]


def test_other_letters_need_no_quotes():
    seen = []
    done = run(seen.append, "+experiment=debug", "data.root=/数据/唐卡 (1)", "tags=[唐卡 一,first]", "name=x")
    assert (done.code, done.stderr) == (0, "")
    assert [(config.data.root, list(config.tags)) for config in seen] == [("/数据/唐卡 (1)", ["唐卡 一", "first"])]


def test_a_users_mistake_is_one_line_and_code_2():
    done = run(raise_(DataFormatError("train_ims.npy: is empty; write it again")))
    assert done == (2, "", "DataFormatError: train_ims.npy: is empty; write it again\n")


def test_a_mistake_in_the_command_is_one_line_and_code_2():
    seen = []
    done = run(seen.append, "sedd=3")
    assert (done.code, done.stdout, seen) == (2, "", [])
    assert done.stderr == "ConfigError: sedd: there is no such setting. Did you mean seed or seeds?\n"


@pytest.mark.parametrize("word", ["-v", "--verbose", "debug=true"])
def test_the_traceback_is_shown_where_it_is_asked_for(word):
    with pytest.raises(DataFormatError, match="is empty"):
        run(raise_(DataFormatError("is empty")), word)
    with pytest.raises(Exception, match="Could not override 'sedd'"):
        run(raise_(DataFormatError("is empty")), word, "sedd=3")


def test_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run(lambda config: 1 // 0)


def full_disk():
    return OSError(errno.ENOSPC, "No space left on device", "runs/ledger.jsonl")


def test_a_full_disk_is_a_users_mistake():
    done = run(raise_(full_disk()))
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("TrainingError: runs/ledger.jsonl: No space left on device; free space there")


def test_a_full_disk_while_another_mistake_is_noted_leaves_that_ones_words():
    def task(config):
        try:
            raise TrainingError("last.ckpt: cannot write the checkpoint")
        finally:
            raise full_disk()

    assert run(task) == (2, "", "TrainingError: last.ckpt: cannot write the checkpoint\n")


def test_another_fault_of_the_system_keeps_its_traceback():
    with pytest.raises(PermissionError):
        run(raise_(PermissionError(errno.EACCES, "Permission denied", "somewhere")))


def test_ctrl_c_ends_with_130_and_says_nothing():
    assert run(raise_(KeyboardInterrupt())) == (130, "", "")


def test_a_multirun_of_hydras_own_runs_every_job_and_ends_with_2_if_one_failed(tmp_path):
    seen = []

    def task(config):
        seen.append(config.seed)
        if config.seed == 1:
            raise DataFormatError("is empty")

    done = run(task, "-m", "hydra/sweeper=basic", "seed=1,2", f"paths.runs={tmp_path}")
    assert (done.code, done.stderr, seen) == (2, "DataFormatError: is empty\n", [1, 2])
