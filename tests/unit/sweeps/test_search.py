from types import SimpleNamespace

import pytest

from tangka_match.sweeps.manifest import JobRecord
from tangka_match.sweeps.search import _Search


@pytest.mark.parametrize(("status", "expected"), [("stopped", []), ("failed", [3])])
def test_only_a_failed_trial_is_told_to_optuna(status, expected):
    told_trials = []
    study = SimpleNamespace(tell=lambda job: told_trials.append(job.number))
    job = JobRecord(3, starts=1, end={"status": status})
    _Search(None, SimpleNamespace(objectives=["mean_r1"]), study, [], 1)._tell(job, None)
    assert told_trials == expected
