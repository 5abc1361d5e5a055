"""What manifests say: jobs by state, optimizer steps, seconds. ``python summary.py <folder of runs> ...``."""

import json
import sys
from collections import Counter
from pathlib import Path

from tangka_match.sweeps.manifest import Manifest

for root in sys.argv[1:]:
    for path in sorted(Path(root).glob("sweeps/*/manifest.jsonl")):
        jobs = Manifest(path).read().jobs.values()
        runs = [run for job in jobs for run in (job.end or {}).get("runs", [])]
        results = [json.loads((Path(root) / run / "result.json").read_text(encoding="utf-8")) for run in runs]
        states = ", ".join(f"{count} {state}" for state, count in Counter(job.status for job in jobs).items())
        best = max((job.end["metrics"]["mean_r1"] for job in jobs if job.status == "finished" and job.end), default=0)
        seconds = sum((job.end or {}).get("seconds", 0) for job in jobs)
        steps = sum(result["total_steps"] for result in results)
        print(f"{path.parent.name}: {states}; {steps:,} steps, {seconds:.0f} s in jobs, best mean R@1 {best:.2f}")
