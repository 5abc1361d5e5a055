import threading

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from tangka_match.sweeps.folder import open_sweep
from tangka_match.sweeps.session import Session, quoted


class Submitit:
    """Launcher that raises the error of the first killed job while a later job is still running."""

    def __init__(self, folder):
        self.folder, self.is_running = folder, threading.Event()
        self.other = threading.Thread(target=self.run_job_2)

    def launch(self, overrides, initial_job_idx):
        self.folder.manifest.write("start", job=0)
        self.folder.manifest.write("end", job=0, status="finished", metrics={})
        self.folder.manifest.write("start", job=1)
        self.other.start()
        self.is_running.wait()
        raise RuntimeError("job 1 was killed")

    def run_job_2(self):
        with self.folder.hold_job(2):
            self.folder.manifest.write("start", job=2)
            self.is_running.set()
            threading.Event().wait(0.3)
            self.folder.manifest.write("end", job=2, status="finished", metrics={})


def test_job_that_outlives_the_error_of_another_one_is_waited_for(tmp_path):
    folder = open_sweep(tmp_path, None, "grid", {}).folder
    launcher = Submitit(folder)
    object.__new__(Session).run_jobs(launcher, folder, {number: [] for number in range(4)}, retries=0)
    launcher.other.join()
    ends = [job.end for _, job in sorted(folder.manifest.read().jobs.items())]
    assert [end["status"] for end in ends] == ["finished", "failed", "finished", "failed"]
    assert "RuntimeError: job 1 was killed" in ends[1]["error"]
    assert "the launcher has returned no result" in ends[3]["error"]


@pytest.mark.parametrize("text", ["/a b/c", "/it's", "/x,y=[z]", "/唐卡", "/back\\slash", "/ends\\'"])
def test_quoted_path_is_parsed_by_hydra(text):
    (override,) = OverridesParser.create().parse_overrides([f"a={quoted(text)}"])
    assert override.value() == text
