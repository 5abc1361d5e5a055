"""Start-up time of the command line."""

import subprocess
import sys
from collections.abc import Sequence

from benchmarks.rows import Row
from benchmarks.timing import take_turns


def start_up_rows(rounds: int) -> list[Row]:
    """Measure the seconds of a fresh process per command."""
    commands = {"--help": ["--help"], "--cfg job": ["+experiment=targeted", "--cfg", "job"]}
    timings = take_turns(
        {name: lambda a=arguments: _run(a) for name, arguments in commands.items()}, rounds, children=True
    )
    return [
        Row(f"python -m tangka_match.train {name}", "s", timing.seconds, 1.5, at_least=False)
        for name, timing in timings.items()
    ]


def _run(arguments: Sequence[str]) -> None:
    command = [sys.executable, "-m", "tangka_match.train", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
