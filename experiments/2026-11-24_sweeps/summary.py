"""What the manifests of finished sweeps say, as JSON: ``python summary.py <folder of runs> ... > results.json``."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tangka_match.sweeps.manifest import Manifest


def sum_up(path: Path, runs: Path) -> dict[str, Any]:
    """Jobs by state, optimizer steps, seconds, and the best result of one sweep."""
    content = Manifest(path).read()
    jobs = content.jobs.values()
    ids = {run for job in jobs for run in (job.end or {}).get("runs", [])}
    results = [json.loads((runs / run / "result.json").read_text(encoding="utf-8")) for run in sorted(ids)]
    finished = [job.end["metrics"]["mean_r1"] for job in jobs if job.status == "finished" and job.end]
    return {
        "sweep": path.parent.name,
        "kind": content.header["kind"],
        "git_commit": content.header["git_commit"],
        "jobs": Counter(job.status for job in jobs),
        "runs": len(ids),
        "resumed": sum(len((job.end or {}).get("resumed", [])) for job in jobs),
        "optimizer_steps": sum(result["total_steps"] for result in results),
        "seconds_in_jobs": round(sum((job.end or {}).get("seconds", 0) for job in jobs), 1),
        "best_mean_r1": max(finished, default=None),
    }


rows = [
    sum_up(path, Path(root)) for root in sys.argv[1:] for path in sorted(Path(root).glob("sweeps/*/manifest.jsonl"))
]
print(json.dumps(rows, indent=1))
