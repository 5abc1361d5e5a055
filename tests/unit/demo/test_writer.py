import errno
import json
import multiprocessing
from dataclasses import replace

import pytest

from tangka_match.data.split import load_split
from tangka_match.demo import writer
from tangka_match.demo.writer import DemoWriter
from tangka_match.errors import DataFormatError

WRITER = DemoWriter(seed=3, train=4, val=3, test=2, noise=0.25, duplicate_share=0.0, completeness=0.5, thumbnails=False)


@pytest.fixture
def root(tmp_path):
    WRITER.ensure(tmp_path / "set")
    return tmp_path / "set"


def times(root):
    return {path.name: path.stat().st_mtime_ns for path in root.iterdir()}


def test_missing_set_is_written_with_the_given_settings(root):
    settings = json.loads((root / "README.json").read_text("utf-8"))["settings"]
    assert DemoWriter(**settings) == WRITER
    assert [load_split(root, split).num_images for split in ("train", "val", "test")] == [4, 3, 2]


def test_empty_folder_is_filled(tmp_path):
    WRITER.ensure(tmp_path)
    assert (tmp_path / "README.json").is_file()


def test_existing_set_is_not_changed(root):
    before = times(root)
    WRITER.ensure(root)
    assert times(root) == before


def test_two_processes_write_the_set_once(tmp_path):
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=WRITER.ensure, args=(tmp_path / "set",)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]


def refuse_writing(path):
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


def test_existing_set_needs_no_write_permission(root, monkeypatch):
    before = times(root)
    monkeypatch.setattr(writer, "FileLock", refuse_writing)
    WRITER.ensure(root)
    assert times(root) == before


def test_folder_without_write_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "FileLock", refuse_writing)
    with pytest.raises(DataFormatError, match=r"set: cannot write the demo set here .*\.set\.lock.*or set paths\.data"):
        WRITER.ensure(tmp_path / "set")


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("seed", 4, r"seed is 3, data\.writer\.seed=4"),
        ("train", 5, r"train is 4, data\.writer\.train=5"),
        ("noise", 0.5, r"noise is 0\.25, data\.writer\.noise=0\.5"),
        ("completeness", 1.0, r"completeness is 0\.5, data\.writer\.completeness=1\.0"),
        ("thumbnails", True, r"thumbnails is False, data\.writer\.thumbnails=True"),
    ],
)
def test_set_with_other_settings_is_refused_with_both_values(root, setting, value, message):
    before = times(root)
    with pytest.raises(DataFormatError, match=rf"set was written with other settings \({message}\); delete the folder"):
        replace(WRITER, **{setting: value}).ensure(root)
    assert times(root) == before


def test_all_differences_are_reported(root):
    with pytest.raises(DataFormatError, match=r"\(val is 3, .*val=9; test is 2, .*test=8\)"):
        replace(WRITER, val=9, test=8).ensure(root)


def test_folder_with_other_files_is_refused_and_not_changed(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataFormatError, match=r"is not empty and has no README\.json.*set data\.root"):
        WRITER.ensure(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"settings": 3}', "[" * 100_000])
def test_damaged_readme_is_refused(root, content):
    (root / "README.json").write_text(content)
    with pytest.raises(DataFormatError, match=r"README\.json"):
        WRITER.ensure(root)
