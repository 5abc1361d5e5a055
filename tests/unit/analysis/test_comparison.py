import re
from pathlib import Path

import pytest
from rich.console import Console

from tangka_match.analysis.comparison import LABELS, better, comparison_table, in_one_order, verdict
from tangka_match.analysis.significance import METRICS, Difference
from tangka_match.errors import DataFormatError
from tangka_match.retrieval.evaluation_files import Query

B_WINS = Difference(37.0, 43.5, 6.5, 2.14, 10.9, 0.0042)
A_WINS = Difference(43.5, 37.0, -6.5, -10.9, -2.14, 0.0004)
NONE = Difference(5.0, 5.0, 0.0, -0.001, 0.001, 1.0)
NUMBERS = ["100.00", "100.00", "−100.00", "−112.5", "…", "−100.0", "<", "0.001"]
CHANCE = Difference(37.47, 37.19, -0.28, -4.13, 3.58, 0.888)


@pytest.mark.parametrize(
    ("metric", "found", "expected"),
    [
        ("mean_r1", B_WINS, "b is better by 6.50 (difference +6.50, 95 % interval +2.1 … +10.9, p = 0.004)"),
        ("mean_r1", A_WINS, "a is better by 6.50 (difference −6.50, 95 % interval −10.9 … −2.1, p < 0.001)"),
        ("t2i_mean_rank", B_WINS, "a is better by 6.50 (difference +6.50, 95 % interval +2.1 … +10.9, p = 0.004)"),
        ("rsum", CHANCE, "no significant difference (difference −0.28, 95 % interval −4.1 … +3.6, p = 0.9)"),
        ("rsum", NONE, "no significant difference (difference 0.00, 95 % interval 0.0 … 0.0, p = 1.0)"),
    ],
)
def test_verdict(metric, found, expected):
    assert verdict(metric, found) == expected


@pytest.mark.parametrize(("p", "winner"), [(0.0499, "b"), (0.05, None)])
def test_better_depends_on_p(p, winner):
    assert better("mean_r1", B_WINS._replace(p=p)) == winner


def lines_of(differences):
    console = Console(width=80, color_system=None)
    with console.capture() as captured:
        console.print(comparison_table(differences, title="363 images", caption="These two models"))
    return [line.strip() for line in captured.get().splitlines()]


def test_table_has_all_metrics_within_80_columns():
    wide = Difference(100.0, 100.0, -100.0, -112.5, -100.0, 0.0001)
    lines = lines_of(dict.fromkeys(METRICS, wide))
    assert set(LABELS) == set(METRICS)
    for label in LABELS.values():
        (row,) = (line for line in lines if line.startswith(label))
        winner = "b" if label.endswith("rank") else "a"
        assert row.removeprefix(label).split() == [*NUMBERS, winner]
    assert not any("…" in re.sub(r" … ", "", line) for line in lines)


def test_metric_of_the_verdict_comes_first():
    text = "\n".join(lines_of(dict.fromkeys(METRICS, CHANCE)))
    assert text.index("mean R@1 %") < text.index("image→text R@1 %")
    assert "9 rows are exploratory" in " ".join(text.split())
    assert "These two models" in text


A, B, C = Path("a/ranks.csv"), Path("b/ranks.csv"), Path("c/ranks.csv")
QUERIES = (Query("i2t", "x", "x"), Query("i2t", "y", "y"), Query("t2i", "0", "y"), Query("t2i", "1", "x"))


def table(queries=QUERIES):
    return {query: 10 + QUERIES.index(query) if query in QUERIES else 1 for query in queries}


def test_tables_in_different_order_are_aligned():
    ranks, caption_to_image = in_one_order({A: table(), B: table(QUERIES[::-1])})
    assert [part.tolist() for part in ranks[B]] == [part.tolist() for part in ranks[A]] == [[10, 11], [12, 13]]
    assert caption_to_image.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (
            QUERIES[:3],
            r"a/ranks\.csv has the t2i query '1' of image 'x', and c/ranks\.csv does not \(4 and 3 queries\)",
        ),
        ((*QUERIES, Query("t2i", "2", "x")), r"c/ranks\.csv has the t2i query '2' of image 'x', and a/ranks\.csv does"),
        ((*QUERIES[:2], Query("t2i", "0", "x"), QUERIES[3]), r"a/ranks\.csv has the t2i query '0' of image 'y', and c"),
    ],
)
def test_exception_different_queries(queries, message):
    with pytest.raises(DataFormatError, match=message):
        in_one_order({A: table(), B: table(), C: table(queries)})
