import re
from pathlib import Path

import pytest

from helpers.records import record_of
from helpers.run_folders import write_run
from tangka_match.analysis import report as report_package
from tangka_match.analysis.report.page import check_out, write_report
from tangka_match.analysis.report.payload import Report
from tangka_match.analysis.runs.selection import fold_seeds
from tangka_match.analysis.script_bundle import bundle
from tangka_match.errors import ConfigError

SCRIPTS = Path(report_package.__file__).parent


def test_bundle_contains_each_module_once_after_its_imports():
    text = bundle("report/main")
    names = sorted(path.stem for path in SCRIPTS.glob("*.js"))
    for name in names:
        first_line = (SCRIPTS / f"{name}.js").read_text("utf-8").splitlines()[0]
        assert text.count(first_line) == 1, f"{name}.js"
    assert not re.search(r"^(import|export) ", text, re.MULTILINE)
    places = {name: text.index((SCRIPTS / f"{name}.js").read_text("utf-8").splitlines()[0]) for name in names}
    assert places["statistics"] < places["data"] < places["state"] < places["table"] < places["main"]


def test_exported_names_are_unique():
    exported = [
        name
        for path in SCRIPTS.glob("*.js")
        for name in re.findall(r"^export (?:const|function) (\w+)", path.read_text("utf-8"), re.MULTILINE)
    ]
    assert len(exported) == len(set(exported)) > 40


def test_each_text_is_translated_and_used():
    text = (SCRIPTS / "words.js").read_text("utf-8")
    table = text[text.index("const WORDS") : text.index("};")]
    words = dict(re.findall(r'^  (\w+): \[\s*(".*?",?\s*".*?"),?\s*\]', table, re.MULTILINE | re.DOTALL))
    assert len(words) > 80
    everything = "".join(path.read_text("utf-8") for path in SCRIPTS.glob("*.js")).replace(table, "")
    used = set(re.findall(r'"(\w+)"', everything))
    by_status = {
        f"{status}{part}"
        for status in ("finished", "running", "stopped", "failed", "killed", "pruned")
        for part in ("", "Help")
    }
    assert set(words) - used - by_status == set()
    untranslated = [
        name for name, pair in words.items() if not re.search(r"[一-鿿：；（]", pair) and name != "difference"
    ]
    assert untranslated == []


def test_only_an_earlier_report_is_overwritten(tmp_path):
    folder = write_run(tmp_path / "runs", "a")
    out = tmp_path / "new" / "report.html"
    check_out(out)
    write_report(Report(tmp_path / "runs", fold_seeds([record_of(folder)]), {}), out)
    check_out(out)
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    (tmp_path / "notes.html").write_text("<p>mine</p>")
    with pytest.raises(ConfigError, match=r"notes\.html is not a report and is not overwritten"):
        check_out(tmp_path / "notes.html")
    with pytest.raises(ConfigError, match=r"runs is a folder; choose a file, such as out=.*runs/report\.html"):
        check_out(tmp_path / "runs")
