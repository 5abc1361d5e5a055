"""Comparisons of recipes or of two models as tables for a paper, in Markdown and LaTeX."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from tangka_match.analysis.comparison import better
from tangka_match.analysis.folds import by_seed, describe_folds, pooled_result
from tangka_match.analysis.report.verdicts import Verdict
from tangka_match.analysis.runs.differences import choose_columns, differing_keys, short_names, short_value
from tangka_match.analysis.runs.selection import FOLD, Recipe, best_first
from tangka_match.analysis.significance import LEVEL, Difference
from tangka_match.errors import ConfigError, TangkaMatchError, count
from tangka_match.files import write_text_completely
from tangka_match.metric_names import CUTOFFS, DIRECTION_LABELS, PRIMARY_METRIC, RECALLS

SUFFIXES = (".md", ".tex")
METRICS = (*RECALLS, "rsum", PRIMARY_METRIC)
HEADINGS = (*(f"{name} R@{k}" for name in DIRECTION_LABELS.values() for k in CUTOFFS), "rsum", "mean R@1")
PERCENT = round(100 * LEVEL)
MAX_SETTINGS = 3
"""Most differing settings in the name of a recipe."""

_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "†": r"$^\dagger$",
    "…": r"\ldots{}",
    "<": "$<$",
    "–": "--",
}


class Cell(NamedTuple):
    """Cell of a table.

    Attributes:
        text: Plain text.
        bold: Whether the cell is printed in bold.
    """

    text: str
    bold: bool = False


@dataclass(frozen=True)
class PaperTable:
    """Table with a caption; the first column is aligned to the left, all others to the right.

    Args:
        headings: Headings of the columns.
        rows: Rows of cells.
        caption: Text below the table: what the numbers are, and on which gallery.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str

    def markdown(self) -> str:
        r"""Return the table in the syntax of GitHub.

        >>> print(PaperTable(["model", "R@1"], [[Cell("a|b"), Cell("37.5", bold=True)]], "363 images").markdown())
        | model | R@1 |
        |---|--:|
        | a\|b | **37.5** |
        <BLANKLINE>
        363 images
        """
        rows = [[f"**{_markdown(c.text)}**" if c.bold else _markdown(c.text) for c in row] for row in self.rows]
        lines = [list(map(_markdown, self.headings)), *rows]
        head, *body = (f"| {' | '.join(cells)} |" for cells in lines)
        rule = f"|---|{'--:|' * (len(self.headings) - 1)}"
        return "\n".join([head, rule, *body, "", self.caption])

    def latex(self) -> str:
        """Return a ``table`` environment, which needs the package ``booktabs``."""
        rows = [[rf"\textbf{{{_latex(c.text)}}}" if c.bold else _latex(c.text) for c in row] for row in self.rows]
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\begin{{tabular}}{{l{'r' * (len(self.headings) - 1)}}}",
                r"\toprule",
                " & ".join(map(_latex, self.headings)) + r" \\",
                r"\midrule",
                *(" & ".join(cells) + r" \\" for cells in rows),
                r"\bottomrule",
                r"\end{tabular}",
                rf"\caption{{{_latex(self.caption)}}}",
                r"\end{table}",
            ]
        )


def recipe_table(recipes: Sequence[Recipe], verdicts: Sequence[Verdict]) -> PaperTable:
    """Build the table of recipes, best first: mean ± standard deviation over seeds, or a value and its interval.

    Args:
        recipes: Recipes; those without metrics are left out.
        verdicts: Comparisons with the best recipe; a significantly lower mean R@1 is marked with a dagger.
    """
    ordered = best_first(recipes)
    lower = {run.path for verdict in verdicts if verdict.better == "a" for run in verdict.b}
    results = [_result(recipe) for recipe in ordered]
    highest = {metric: max((r.means.get(metric, 0.0) for r in results), default=0.0) for metric in METRICS}
    rows = []
    for recipe, result, name in zip(ordered, results, _names(ordered), strict=True):
        mark = "†" if any(run.path in lower for run in recipe.runs) else ""
        cells = [
            Cell(
                result.texts.get(metric, "–") + (mark if metric == PRIMARY_METRIC else ""),
                result.means.get(metric) == best,
            )
            for metric, best in highest.items()
        ]
        rows.append([Cell(name), Cell(_gallery(recipe)), Cell(result.runs), *cells])
    caption = (
        "Validation, in percent; rsum is the sum of the six recalls. Several seeds: mean ± standard deviation; one "
        f"seed: value [{PERCENT} % interval over images]; folds of a cross-validation: over the queries of all folds. "
        "Gallery: images × captions per image, of one fold if there are several. "
        "† mean R@1 significantly lower than that of the best recipe on the same data (p < 0.05)."
    )
    return PaperTable(["Recipe", "Gallery", "Runs", *HEADINGS], rows, caption)


def difference_table(
    differences: Mapping[str, Difference], names: tuple[str, str], *, images: int, captions: int
) -> PaperTable:
    """Build the table of two sides and their difference; significant differences are bold.

    Args:
        differences: Differences by metric, as returned by `compare_ranks`.
        names: Names of the sides a and b.
        images: Images of the gallery.
        captions: Captions of the gallery.
    """
    found = [differences[metric] for metric in METRICS]
    rows = [
        [Cell(names[0]), *(Cell(f"{one.a:.2f}") for one in found)],
        [Cell(names[1]), *(Cell(f"{one.b:.2f}") for one in found)],
        [
            Cell("difference"),
            *(
                Cell(_minus(f"{one.difference:+.2f}"), better(metric, one) is not None)
                for metric, one in zip(METRICS, found, strict=True)
            ),
        ],
        [Cell(f"{PERCENT} % interval"), *(Cell(_minus(f"{one.low:+.1f} … {one.high:+.1f}")) for one in found)],
        [Cell("p"), *(Cell("< 0.001" if one.p < 0.001 else f"{one.p:.3f}") for one in found)],
    ]
    caption = (
        f"Recalls in percent on a gallery of {images:,} images × {captions / images:g} captions per image. "
        "Bold: p < 0.05; the test of mean R@1 decides, the others are exploratory."
    )
    return PaperTable(["", *HEADINGS], rows, caption)


def check_table_paths(paths: Sequence[Path]) -> None:
    """Check before any work that each path names a format.

    Raises:
        ConfigError: If a path ends in neither ``.md`` nor ``.tex``.
    """
    for path in paths:
        if path.suffix not in SUFFIXES:
            raise ConfigError(f"tables: {path} must end in {' or '.join(SUFFIXES)} (Markdown or LaTeX)")


def write_tables(table: PaperTable, paths: Sequence[Path]) -> None:
    """Write a table to each path, in the format of its suffix."""
    for path in paths:
        text = table.latex() if path.suffix == ".tex" else table.markdown()
        write_text_completely(path, text + "\n")


def _names(recipes: Sequence[Recipe]) -> list[str]:
    """Name each recipe after its experiment and the most informative of the settings that differ."""
    firsts = [recipe.runs[0] for recipe in recipes]
    columns = [key for key in choose_columns(firsts, differing_keys(firsts)) if key != FOLD][:MAX_SETTINGS]
    short = short_names(columns)
    return [
        " ".join([run.name, *(f"{short[key]}={short_value(run.config[key])}" for key in columns if key in run.config)])
        for run in firsts
    ]


def _gallery(recipe: Recipe) -> str:
    queries = recipe.runs[0].queries
    return "–" if queries is None else f"{queries[0]:,} × {queries[1] / queries[0]:.3g}"


class _Result(NamedTuple):
    """Numbers of a recipe: which runs they come from, and the mean and the text of each metric."""

    runs: str
    means: Mapping[str, float]
    texts: Mapping[str, str]


def _result(recipe: Recipe) -> _Result:
    """Compute the numbers of a recipe; folds that cannot be pooled, such as those of unfinished runs, have none."""
    intervals: Mapping[str, tuple[float, float]]
    if recipe.has_folds:
        try:
            seeds = by_seed(recipe.counted, recipe.runs[0].name)
            pooled = [pooled_result(seed) for seed in seeds]
        except TangkaMatchError:
            return _Result("folds incomplete", {}, {})
        values = {metric: [one.metrics[metric] for one in pooled] for metric in METRICS}
        intervals = pooled[0].intervals
        runs = f"{count(len(seeds), 'seed')}, {describe_folds(seeds[0])}"
    else:
        values = {metric: recipe.values(metric) for metric in METRICS}
        intervals = recipe.counted[0].intervals
        runs = count(len(recipe.counted), "seed")
    means = {metric: fmean(found) for metric, found in values.items() if found}
    return _Result(runs, means, {m: _text(mean, values[m], intervals.get(m)) for m, mean in means.items()})


def _text(mean: float, values: Sequence[float], interval: tuple[float, float] | None) -> str:
    if len(values) > 1:
        return f"{mean:.2f} ± {stdev(values):.2f}"
    return f"{mean:.2f}" if interval is None else f"{mean:.2f} [{interval[0]:.1f}, {interval[1]:.1f}]"


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _markdown(text: str) -> str:
    return text.replace("|", "\\|")


def _latex(text: str) -> str:
    r"""Escape text for LaTeX.

    >>> print(_latex("loss_a 95 % ± 1"))
    loss\_a 95 \% $\pm$ 1
    """
    return "".join(_LATEX.get(character, character) for character in text)
