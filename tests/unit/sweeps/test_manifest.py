from concurrent.futures import ThreadPoolExecutor

import pytest

from tangka_match.sweeps.manifest import Manifest

HEADER = {"sweep": "s", "kind": "grid", "digest": "d"}


@pytest.fixture
def manifest(tmp_path):
    manifest = Manifest(tmp_path / "manifest.jsonl")
    manifest.write("sweep", **HEADER)
    return manifest


def test_status_goes_from_waiting_to_finished(manifest):
    seen = []
    for event, fields in (
        ("job", {"overrides": ["seed=1"]}),
        ("start", {}),
        ("end", {"status": "finished", "metrics": {}}),
    ):
        manifest.write(event, job=3, **fields)
        seen.append(manifest.read().jobs[3].status)
    assert seen == ["waiting", "running", "finished"]
    assert manifest.read().jobs[3].overrides == ["seed=1"]
    assert manifest.read().header["digest"] == "d"


def test_retried_job_is_running_until_it_ends(manifest):
    manifest.write("start", job=0)
    manifest.write("end", job=0, status="failed", error="boom")
    manifest.write("start", job=0)
    job = manifest.read().jobs[0]
    assert (job.status, job.starts) == ("running", 2)


@pytest.mark.parametrize(
    "damage",
    [
        b'{"event": "end", "job": 1, "sta',
        b"\xff\xfe\x00",
        b"[1, 2]",
        b'{"event": "end", "job": 1}',
        b'{"event": "end", "time": 1, "job": 1, "status": "finished", "runs": ["a"]}',
        b'{"event": "end", "time": 1, "job": 1, "status": "unheard of", "metrics": {}}',
        b'{"event": "end", "time": 1, "job": 1, "status": "pruned", "metrics": {}, "reports": {"last": 1.0}}',
        b'{"job": 1}',
        b'{"event": "job", "job": 1, "overrides": 5}',
    ],
)
def test_damaged_line_is_skipped_and_counted(manifest, damage):
    manifest.write("end", job=0, status="finished", metrics={})
    with manifest.path.open("ab") as file:
        file.write(damage)  # without a newline, as a kill leaves it
    manifest.write("end", job=2, status="pruned", metrics={})
    content = manifest.read()
    assert content.corrupt == 1
    assert content.damage() == [f"1 unreadable line skipped: {manifest.path}"]
    assert {number: job.status for number, job in content.jobs.items()} == {0: "finished", 2: "pruned"}


def test_concurrent_writers_lose_no_event(manifest):
    with ThreadPoolExecutor(8) as threads:
        list(
            threads.map(
                lambda n: manifest.write("end", job=n, status="finished", metrics={}, text="x" * 5000), range(100)
            )
        )
    content = manifest.read()
    assert (len(content.jobs), content.corrupt) == (100, 0)


def test_missing_manifest_is_empty(tmp_path):
    content = Manifest(tmp_path / "none").read()
    assert (content.header, content.jobs, content.corrupt) == ({}, {}, 0)


def test_summary_is_not_damage(manifest):
    manifest.write("summary", runs=["a", "b"], metrics={"mean_r1": 3.5}, std={"mean_r1": 0.7})
    content = manifest.read()
    assert (content.jobs, content.corrupt) == ({}, 0)
