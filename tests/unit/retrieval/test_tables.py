from rich.console import Console

from helpers.metrics import METRICS
from tangka_match.retrieval.tables import recall_table

INTERVALS = {name: (value - 1.04, value + 1.06) for name, value in METRICS.items()}


def printed(width=120):
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(recall_table(METRICS, INTERVALS, title="a run", caption="epoch 7"))
    return capture.get()


def cells(text, name):
    """Return the cells of a row and of the intervals below it."""
    lines = text.splitlines()
    place = next(i for i, line in enumerate(lines) if name in line)
    return [[cell.strip() for cell in line.strip("│ ").split("│")] for line in lines[place : place + 2]]


def test_row_shows_recalls_and_ranks_above_their_intervals():
    numbers, intervals = cells(printed(), "image→text")
    assert numbers == ["image→text", "37.47", "80.00", "91.50", "2.0", "4.2"]
    assert intervals[-5:] == ["36.4–38.5", "79.0–81.1", "90.5–92.6", "1.0–3.1", "3.2–5.3"]


def test_directions_are_not_swapped():
    assert cells(printed(), "text→image")[0][-2:] == ["3.0", "5.8"]


def test_totals_have_rows_of_their_own():
    text = printed()
    assert cells(text, "mean R@1")[0][1] == "37.47"
    assert cells(text, "rsum")[0][1] == "418.0"


def test_title_and_caption_explain_the_table():
    text = " ".join(printed().split())
    assert "a run" in text
    assert "epoch 7; below each number its 95 % interval over images" in text


def test_table_fits_80_columns():
    assert "…" not in printed(width=80)
