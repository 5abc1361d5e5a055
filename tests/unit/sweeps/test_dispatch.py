import subprocess
import sys


def test_grids_and_seeds_do_not_import_optuna():
    script = "import sys; sys.modules['optuna'] = None; import tangka_match.sweeps.dispatch, tangka_match.sweeps.grid"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
