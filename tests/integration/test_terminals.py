"""Output never decides a run: whatever stdout is, it ends with exit 0 and a complete log file."""

import os
import subprocess
import sys

import pytest

from .conftest import places

STDOUT = {
    "reader that goes away": "{command} | head -c 1 >/dev/null; exit ${{PIPESTATUS[0]}}",
    "closed": "{command} >&-",
    "full": "{command} >/dev/full",
    "ascii": "PYTHONUTF8=0 PYTHONIOENCODING=ascii {command} >/dev/null",
}


@pytest.mark.parametrize("stdout", STDOUT)
def test_run_goes_on_to_its_end(demo_data, tmp_path, stdout):
    words = ("+experiment=debug", *places(demo_data, tmp_path), "trainer.max_steps=2", "scheduler.warmup_steps=1")
    line = STDOUT[stdout].format(command=f'"{sys.executable}" -m tangka_match.train "$@"')
    done = subprocess.run(
        ["bash", "-c", line, "bash", *words],  # noqa: S607
        stderr=subprocess.PIPE,
        text=True,
        timeout=200,
        env=os.environ,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert {"curves.png", "ranks.csv", "result.json", "run.log"} <= {path.name for path in run.iterdir()}
    assert '"status": "finished"' in (run / "ledger.jsonl").read_text("utf-8").splitlines()[-1]
