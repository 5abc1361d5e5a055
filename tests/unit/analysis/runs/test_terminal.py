import io

from rich.console import Console

from helpers.records import record_of
from helpers.run_folders import write_run
from tangka_match.analysis.runs.terminal import print_run, run_table


def test_table_shows_differing_settings_within_80_columns(tmp_path):
    margins = {"20260101-000000-a-1": 0.1, "20260101-000001-a-1": 0.2}
    runs = [record_of(write_run(tmp_path, name, config={"loss": {"margin": m}})) for name, m in margins.items()]
    console = Console(file=io.StringIO(), width=80)
    console.print(run_table(runs))
    text = console.file.getvalue()
    assert "20260101-000000 " in text
    assert "margin=0.1" in text
    assert "margin=0.2" in text
    assert "lr=" not in text
    assert "30.00" in text
    assert max(map(len, text.splitlines())) <= 80


def test_print_run_shows_all_details(tmp_path):
    folder = write_run(tmp_path, "a", r1=30.0, sweep="s1", job=3, overrides=["loss.margin=0.2"])
    with (folder / "ledger.jsonl").open("a") as ledger:
        ledger.write(
            '{"event": "verdict", "time": 0, "step": 1, "code": "collapse", "message": "[bold]equal[/bold]"}\ntorn\n'
        )
    console = Console(file=io.StringIO(), width=100)
    print_run(console, record_of(folder))
    text = console.file.getvalue()
    for words in (
        "s1, job 3",
        "loss.margin=0.2",
        "26.0–34.0",
        "collapse: [bold]equal[/bold]",
        "1 unreadable ledger lines",
    ):
        assert words in text


def test_print_run_without_results(tmp_path):
    run = record_of(write_run(tmp_path, "a", status=None, steps=0))
    console = Console(file=io.StringIO(), width=100)
    console.print(run_table([run]))
    print_run(console, run)
    assert "killed" in console.file.getvalue()
