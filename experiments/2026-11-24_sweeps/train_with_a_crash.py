"""``python -m tangka_match.train`` with a planted crash: the run of job 9 of a sweep fails at its first step, once.

Once a folder: a file beside the sweep's manifest remembers it, so that the restarted sweep does the job.
"""

import sys
from pathlib import Path
from typing import Any

from tangka_match.sweeps import job as module
from tangka_match.train import main

JOB = 9


def plant() -> None:
    """Wrap the runner."""
    train = module.train

    def crashing(plan: Any, resume: Any = None, job: Any = None) -> Any:
        marker = Path(plan.settings.paths.runs) / "sweeps" / job.sweep / "crashed"
        if job.number == JOB and not marker.exists():
            marker.touch()
            raise RuntimeError("CUDA error: device-side assert triggered (planted by train_with_a_crash.py)")
        return train(plan, resume=resume, job=job)

    module.train = crashing


if __name__ == "__main__":
    plant()
    sys.argv[0] = "train"
    main()
