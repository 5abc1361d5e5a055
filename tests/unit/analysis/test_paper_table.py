import pytest

from helpers.records import record_of
from helpers.run_folders import write_run
from tangka_match.analysis.paper_table import (
    METRICS,
    Cell,
    PaperTable,
    check_table_paths,
    difference_table,
    recipe_table,
    write_tables,
)
from tangka_match.analysis.report.verdicts import Verdict
from tangka_match.analysis.runs.selection import fold_seeds
from tangka_match.analysis.significance import Difference
from tangka_match.errors import ConfigError

TABLE = PaperTable(["模型", "R@1 %"], [[Cell("a_b & c|d"), Cell("3 ± 1 †", bold=True)]], "n < 5, 50 % − 1 × 2 → \\")


def test_markdown():
    assert TABLE.markdown().splitlines() == [
        "| 模型 | R@1 % |",
        "|---|--:|",
        r"| a_b & c\|d | **3 ± 1 †** |",
        "",
        "n < 5, 50 % − 1 × 2 → \\",
    ]


def test_latex_escapes_what_latex_would_interpret():
    lines = TABLE.latex().splitlines()
    assert r"模型 & R@1 \% \\" in lines
    assert r"a\_b \& c|d & \textbf{3 $\pm$ 1 $^\dagger$} \\" in lines
    assert r"\caption{n $<$ 5, 50 \% $-$ 1 $\times$ 2 $\rightarrow$ \textbackslash{}}" in lines
    assert r"\begin{tabular}{lr}" in lines


def test_recipes_best_first_with_deviation_or_interval_and_mark(tmp_path):
    for name, r1, seed, margin in (("a", 30.0, 0, 0.2), ("b", 34.0, 1, 0.2), ("c", 50.0, 0, 0.3)):
        write_run(tmp_path, name, r1=r1, seed=seed, config={"loss": {"margin": margin}})
    low, best = fold_seeds([record_of(tmp_path / name) for name in "abc"])
    verdict = Verdict(best.runs, low.runs, None, "a", None)
    table = recipe_table([low, best], [verdict])
    first, second = (dict(zip(table.headings, row, strict=True)) for row in table.rows)
    assert first["Recipe"].text.endswith("margin=0.3")
    assert (first["Runs"].text, second["Runs"].text) == ("1 seed", "2 seeds")
    assert first["mean R@1"].text.startswith("50.00")
    assert first["mean R@1"].bold
    assert second["mean R@1"] == Cell("32.00 ± 2.83†")


def test_differences_are_bold_where_significant():
    chance, found = Difference(37.0, 37.2, 0.2, -1.0, 1.4, 0.9), Difference(30.0, 20.0, -10.0, -12.0, -8.0, 0.0001)
    differences = dict.fromkeys(METRICS, chance) | {"mean_r1": found}
    table = difference_table(differences, ("one", "two"), images=363, captions=1815)
    difference, interval, p = table.rows[2:]
    assert difference[1:3] == [Cell("+0.20"), Cell("+0.20")]
    assert difference[-1] == Cell("−10.00", bold=True)
    assert interval[-1].text == "−12.0 … −8.0"
    assert p[-1].text == "< 0.001"
    assert "363 images × 5 captions per image" in table.caption


def test_format_follows_the_suffix(tmp_path):
    paths = [tmp_path / "new" / "t.md", tmp_path / "t.tex"]
    write_tables(TABLE, paths)
    assert [path.read_text("utf-8").rstrip("\n") for path in paths] == [TABLE.markdown(), TABLE.latex()]
    with pytest.raises(ConfigError, match=r"tables: t\.csv must end in \.md or \.tex"):
        check_table_paths([paths[0].with_name("x.md"), paths[0].relative_to(tmp_path / "new").with_suffix(".csv")])


def test_folds_are_one_row_over_all_held_out_queries(tmp_path):
    """Folds with R@1 of 12, 24 and 27 % of 100 queries each have 21 % together; the deviation is not that of seeds."""
    for fold, r1 in enumerate((12.0, 24.0, 27.0)):
        write_run(tmp_path, f"f{fold}", r1=r1, ranks=True, config={"data": {"folds": 3, "fold": fold}})
    (recipe,) = fold_seeds([record_of(tmp_path / f"f{fold}") for fold in range(3)])
    table = recipe_table([recipe], [])
    row = dict(zip(table.headings, table.rows[0], strict=True))
    assert row["Runs"].text == "1 seed, 3 folds"
    assert row["mean R@1"].text.startswith("21.00 [")
    assert "fold=" not in row["Recipe"].text


def test_folds_that_cannot_be_pooled_have_no_numbers(tmp_path):
    """Seed 1 lacks a fold; the report is written all the same."""
    for seed, fold in ((0, 0), (0, 1), (1, 0)):
        config = {"data": {"folds": 2, "fold": fold}}
        write_run(tmp_path, f"s{seed}f{fold}", seed=seed, ranks=True, config=config)
    (recipe,) = fold_seeds([record_of(folder) for folder in sorted(tmp_path.iterdir())])
    table = recipe_table([recipe], [])
    row = dict(zip(table.headings, table.rows[0], strict=True))
    assert (row["Runs"].text, row["mean R@1"].text) == ("folds incomplete", "–")
