from types import SimpleNamespace

import pytest

from tangka_match.sweeps.manifest import JobRecord
from tangka_match.sweeps.search import _Search


@pytest.mark.parametrize(("status", "told"), [("stopped", []), ("failed", [3])])
def test_stopped_trial_is_not_told_to_optuna(status, told):
    seen = []
    study = SimpleNamespace(tell=lambda job: seen.append(job.number))
    job = JobRecord(3, starts=1, end={"status": status})
    _Search(None, SimpleNamespace(objectives=["mean_r1"]), study, [], 1)._tell(job, None)
    assert seen == told
