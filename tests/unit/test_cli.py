import errno
import inspect
from importlib import import_module

import pytest

from helpers.cli import run_cli_in_process
from helpers.configs import compose_config
from tangka_match.cli import OUTPUT_ADVICE, command, read_settings, run_cli, usable_device
from tangka_match.compare import ComparisonSettings
from tangka_match.diagnose import DiagnosisSettings
from tangka_match.errors import ConfigError, DataFormatError, TrainingError


def run(action, *words):
    return run_cli_in_process(*words, main=lambda: run_cli(action, "train", "config"))


def raise_(error):
    def action(config):
        raise error

    return action


def test_action_gets_the_composed_config():
    seen = []
    done = run_cli_in_process("+experiment=debug", "seed=3", main=command("train", seen.append, "config"))
    assert (done.code, done.stderr) == (0, "")
    assert [(config.name, config.seed) for config in seen] == [("debug", 3)]


def test_non_ascii_values_need_no_quotes():
    seen = []
    done = run(seen.append, "+experiment=debug", "data.root=/数据/唐卡 (1)", "tags=[唐卡 一,first]", "name=x")
    assert (done.code, done.stderr) == (0, "")
    assert [(config.data.root, list(config.tags)) for config in seen] == [("/数据/唐卡 (1)", ["唐卡 一", "first"])]


def test_user_error_is_one_line_and_exits_with_2():
    done = run(raise_(DataFormatError("train_ims.npy: is empty; write it again")))
    assert done == (2, "", "DataFormatError: train_ims.npy: is empty; write it again\n")


def test_wrong_override_is_one_line_and_exits_with_2():
    seen = []
    done = run(seen.append, "sedd=3")
    assert (done.code, done.stdout, seen) == (2, "", [])
    assert done.stderr == "ConfigError: sedd: there is no such setting. Did you mean seed or seeds?\n"


@pytest.mark.parametrize("word", ["-v", "--verbose", "debug=true"])
def test_verbose_shows_the_traceback(word):
    with pytest.raises(DataFormatError, match="is empty"):
        run(raise_(DataFormatError("is empty")), word)
    with pytest.raises(Exception, match="Could not override 'sedd'"):
        run(raise_(DataFormatError("is empty")), word, "sedd=3")


@pytest.mark.parametrize("error", [ZeroDivisionError(), ConnectionRefusedError(errno.ECONNREFUSED, "refused")])
def test_internal_error_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        run(raise_(error))


def full_disk():
    return OSError(errno.ENOSPC, "No space left on device", "runs/ledger.jsonl")


def test_full_disk_is_a_user_error():
    done = run(raise_(full_disk()))
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("TrainingError: runs/ledger.jsonl: No space left on device; free space there")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EIO, errno.EDQUOT, errno.ENOENT])
def test_file_errors_name_the_path_and_what_to_do(number):
    done = run(raise_(OSError(number, "why", "/data/file")))
    assert (done.code, done.stderr) == (2, f"TrainingError: /data/file: why; {OUTPUT_ADVICE}\n")


REMEDIES = {
    "train": "then continue with resume=<run id>",
    "demo_data": "or set data.root to a place on another disk",
    "runs": "or set runs to another folder",
    **dict.fromkeys(["evaluate", "report", "compare", "diagnose", "convert", "dashboard"], "or set out to"),
    **dict.fromkeys(["extract", "export"], "or set out to"),
}


@pytest.mark.parametrize("name", REMEDIES)
def test_every_command_has_its_own_remedy(name):
    given = inspect.getclosurevars(import_module(f"tangka_match.{name}").main).nonlocals["disk_advice"]
    assert REMEDIES[name] in given
    assert ("resume=" in given) == (name == "train")


def test_full_disk_while_recording_an_error_reports_that_error():
    def action(config):
        try:
            raise TrainingError("last.ckpt: cannot write the checkpoint")
        finally:
            raise full_disk()

    assert run(action) == (2, "", "TrainingError: last.ckpt: cannot write the checkpoint\n")


def test_ctrl_c_exits_with_130_silently():
    assert run(raise_(KeyboardInterrupt())) == (130, "", "")


def test_hydra_multirun_runs_every_job_and_exits_with_2_if_one_failed(tmp_path):
    seen = []

    def action(config):
        seen.append(config.seed)
        if config.seed == 1:
            raise DataFormatError("is empty")

    done = run(action, "-m", "hydra/sweeper=basic", "seed=1,2", f"paths.runs={tmp_path}")
    assert (done.code, done.stderr, seen) == (2, "DataFormatError: is empty\n", [1, 2])


DIAGNOSE = ("diagnose", DiagnosisSettings, ("data.root=set", "out=out"))
COMPARE = ("compare", ComparisonSettings, ("a=one", "b=two"))
FAULTS = [
    (DIAGNOSE, "data.root=", r"data\.root is empty: write data\.root=<folder of the data set>"),
    (DIAGNOSE, "~curve", r"curve is missing: "),
    (DIAGNOSE, "run=", r"run is empty: write run=<value>, or leave it out"),
    (DIAGNOSE, "+curve.seed=5", r"curve\.seed: there is no such setting\. Did you mean seeds\?"),
    (DIAGNOSE, "+lerning_curve=true", r"lerning_curve: there is no such setting\. Did you mean learning_curve\?"),
    (COMPARE, "a=", r"a is empty: write a=<value>"),
    (COMPARE, "a=[]", r"a=\[\]: .* should have at least 1 item"),
    (COMPARE, "a=[x,'']", r"a is empty"),
    (COMPARE, "+sead=5", r"sead: there is no such setting\. Did you mean seed\?"),
]


@pytest.mark.parametrize(("command", "override", "message"), FAULTS, ids=[override for _, override, _ in FAULTS])
def test_exception_faulty_settings(command, override, message):
    name, kind, words = command
    groups = ("paths", "debug") if name == "compare" else ("data", "paths", "debug")
    with pytest.raises(ConfigError, match=message):
        read_settings(compose_config(*words, override, config_name=name), kind, groups)


@pytest.mark.parametrize("command", [DIAGNOSE, COMPARE], ids=["diagnose", "compare"])
def test_settings_are_typed(command):
    name, kind, words = command
    assert isinstance(read_settings(compose_config(*words, config_name=name), kind), kind)


def test_all_faults_are_reported_at_once():
    config = compose_config("a=one", "b=two", "seed=-1", "resamples=many", config_name="compare")
    with pytest.raises(ConfigError, match=r"(?s)resamples='many'.*seed=-1"):
        read_settings(config, ComparisonSettings, ("paths", "debug"))


def test_exception_unavailable_device():
    assert usable_device("cpu") == "cpu"
    with pytest.raises(ValueError, match="'quantum' is not available here; use auto, cpu"):
        usable_device("quantum")


@pytest.mark.parametrize(("has_gpu", "device"), [(True, "cuda"), (False, "cpu")])
def test_automatic_device_is_the_gpu_if_there_is_one(monkeypatch, has_gpu, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: has_gpu)
    assert usable_device("auto") == device
