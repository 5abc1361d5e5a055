import subprocess
import sys

import pytest

from helpers.configs import compose_config
from tangka_match.errors import ConfigError
from tangka_match.sweeps.dispatch import check_ensemble


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [((), False), (("seeds=[0,1]", "ensemble=true"), True), (("+experiment=best_ensemble",), True)],
)
def test_ensemble_setting_is_returned(overrides, expected):
    assert check_ensemble(compose_config(*overrides), in_sweep=False) is expected


@pytest.mark.parametrize(
    ("overrides", "in_sweep", "message"),
    [
        (("ensemble=yes please",), False, r"ensemble='yes please' must be true or false"),
        (("ensemble=true",), False, r"ensemble=true with seeds=None: give at least two seeds"),
        (("ensemble=true", "seeds=[3]"), False, r"seeds=\[3\]: give at least two seeds"),
        (("ensemble=true", "seeds=[0,1]"), True, r"ensemble=true in a sweep: .* set ensemble=false"),
    ],
)
def test_invalid_ensemble_is_refused(overrides, in_sweep, message):
    with pytest.raises(ConfigError, match=message):
        check_ensemble(compose_config(*overrides), in_sweep=in_sweep)


def test_grids_and_seeds_do_not_import_optuna():
    script = "import sys; sys.modules['optuna'] = None; import tangka_match.sweeps.dispatch, tangka_match.sweeps.grid"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
