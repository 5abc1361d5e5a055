import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tangka_match.errors import TrainingError
from tangka_match.sweeps.gpus import GpuSlots
from tangka_match.sweeps.pool import LocalPool, ProcessPool, last_error

SHOW = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ.get('CUDA_VISIBLE_DEVICES'))"
SLEEP = "import sys, time; print('up', flush=True); time.sleep(99)"
# Pool whose job calls `end_with_parent`; the test kills the process of the pool.
PARENT = """
import sys
from pathlib import Path
from tangka_match.sweeps.pool import ProcessPool
child = '''import time; from tangka_match.sweeps.pool import end_with_parent
end_with_parent(); print('up', flush=True); time.sleep(99)'''
ProcessPool(1, None).run(["-c", child], Path(sys.argv[1]))
"""


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_job_gets_threads_and_gpu_and_writes_its_output(tmp_path):
    pool = ProcessPool(3, GpuSlots(["5"], 1, tmp_path / "slots"))
    assert pool.run(["-c", SHOW], tmp_path / "jobs" / "0" / "output.log") == 0
    assert (tmp_path / "jobs" / "0" / "output.log").read_text() == "3 5\n"
    assert ProcessPool(1, None).run(["-c", "raise SystemExit(7)"], tmp_path / "log") == 7


def test_end_all_ends_all_processes_and_starts_no_more(tmp_path):
    pool, codes = ProcessPool(1, None), []
    logs = [tmp_path / str(n) for n in range(2)]
    threads = [threading.Thread(target=lambda log=log: codes.append(pool.run(["-c", SLEEP], log))) for log in logs]
    for thread in threads:
        thread.start()
    wait_until(lambda: all(log.exists() and log.read_text() == "up\n" for log in logs))
    pool.end_all()
    for thread in threads:
        thread.join(10)
    assert codes == [-signal.SIGTERM, -signal.SIGTERM]
    with pytest.raises(TrainingError, match="is being stopped"):
        pool.run(["-c", SLEEP], tmp_path / "late")


def test_end_all_ends_a_job_that_waits_for_the_gpu_of_another_sweep(tmp_path):
    held = GpuSlots(["7"], 1, tmp_path).lease(threading.Event())
    pool, ends = ProcessPool(1, GpuSlots(["7"], 1, tmp_path)), []

    def wait_for_the_gpu():
        with pytest.raises(TrainingError, match="is being stopped"):
            pool.run(["-c", SLEEP], tmp_path / "log")
        ends.append("stopped")

    thread = threading.Thread(target=wait_for_the_gpu, daemon=True)
    thread.start()
    thread.join(0.1)
    pool.end_all()
    thread.join(10)
    assert ends == ["stopped"]
    held.file.close()


def test_jobs_get_the_config_of_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train", "-m", "-cp", "mine", "seed=1,2", "--config-name", "other"])
    started = []
    monkeypatch.setattr(ProcessPool, "run", lambda self, words, output: started.append(words) or 0)
    log = tmp_path / "jobs" / "0" / "output.log"
    log.parent.mkdir(parents=True)
    log.touch()
    config = OmegaConf.create({"trainer": {"accelerator": "cpu"}, "hydra": {"overrides": {"hydra": []}}})
    pool = LocalPool(config, processes=1, gpus=None, trials_per_gpu=1)
    pool.run_all([["sweep.job=0", f"sweep.folder={tmp_path}"]])
    assert started[0][:4] == ["-m", "tangka_match.train", "--config-path=mine", "--config-name=other"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals the death of a parent process")
def test_job_ends_when_the_process_of_the_pool_is_killed(tmp_path):
    log = tmp_path / "log"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(log)])
    wait_until(lambda: log.exists() and log.read_text() == "up\n")
    (child,) = map(int, Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split())
    parent.kill()
    parent.wait()
    wait_until(lambda: not _is_alive(child))
    assert parent.returncode == -signal.SIGKILL


def _is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("ConfigError: the settings:\n  loss: wrong\n", "ConfigError: the settings: loss: wrong"),
        (
            "Traceback (most recent call last):\n  File\nhydra.errors.HydraException: no\n",
            "hydra.errors.HydraException: no",
        ),
        ("epoch 1\n", None),
    ],
)
def test_last_error_of_a_process(tmp_path, text, error):
    output = tmp_path / "output.log"
    output.write_text("ValueError: of an earlier try\n" + text)
    assert last_error(output, 30) == error


@pytest.mark.parametrize(
    ("code", "cause"), [(1, "ValueError: the last error that was printed"), (-signal.SIGKILL, "exit code -9")]
)
def test_killed_job_is_not_explained_by_what_it_printed_before(tmp_path, monkeypatch, code, cause):
    def run(self, words, output):
        output.parent.mkdir(parents=True)
        output.write_text("ValueError: the last error that was printed\n")
        return code

    monkeypatch.setattr(ProcessPool, "run", run)
    monkeypatch.setattr(sys, "argv", ["train", "-m"])  # a pool passes on its options: here those of pytest
    config = OmegaConf.create({"trainer": {"accelerator": "cpu"}, "hydra": {"overrides": {"hydra": []}}})
    pool = LocalPool(config, processes=1, gpus=None, trials_per_gpu=1)
    (ended,) = pool.run_all([[f"sweep.folder='{tmp_path}'", "sweep.job=0"]])
    assert str(ended._return_value) == cause
