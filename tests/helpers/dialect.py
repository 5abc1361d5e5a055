"""Count phrases that the project's style rules out (CONTRIBUTING.md, Style).

    python tests/helpers/dialect.py [folder of a checkout]

prints how often each pattern occurs in source, tests, configs and documentation.
"""

import re
import sys
from pathlib import Path

UNITS = (
    "image|caption|query|item|picture|region|word|token|step|epoch|batch|run|job|trial|seed|split|row|line|file|second|pair"
    "|side|process|machine|metric|setting"
)
THINGS = "row|line|job|dot|file|vector|process|object|number|value|place|caption|word|card|column|entry|id|bar"
MANY = "captions|images|seeds|words|steps|pairs|queries|answers|trials|rows|regions|numbers|jobs|tokens"
PATTERNS = {
    "Args that begin with Of or That": r"(?m)^\s+\w+: (?:Of|That)\b",
    "Raises: For whatever": r"For whatever|whatever a user can mend",
    "a/an for per, singular": rf"\b(?:[Aa]n?|[Oo]ne) (?:{THINGS}) an? (?:{UNITS})\b",
    "a/an for per, plural": rf"\b(?:{MANY}) an? (?:{UNITS})\b",
    "metaphor": (
        r"by heart|\bbur(?:y|ies|ied)\b|[Ww]here words look|in the light of|the house's|_House|\bpasses for\b"
        r"|the running model|takes? (?:them )?for each other"
    ),
    "negated or abstract names": r"\b\w*(?:OF_THE_|BESIDE_THE|OF_ONE_|bury_dead)\w*\b|(?<!\")told_apart\b",
    "user can mend": r"\bmend(?:s|ed)?\b",
}
SUFFIXES = {".py", ".md", ".yaml", ".js", ".cff", ".toml"}
FOLDERS = ("src", "tests", "conf", "docs", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile")


def count(root: Path) -> dict[str, list[str]]:
    """Return, for each pattern, where it occurs: ``<file>:<line>: <match>``."""
    found: dict[str, list[str]] = {name: [] for name in PATTERNS}
    for path in files(root):
        text = path.read_text("utf-8")
        for name, pattern in PATTERNS.items():
            for match in re.finditer(pattern, text):
                line = text.count("\n", 0, match.start()) + 1
                found[name].append(f"{path.relative_to(root)}:{line}: {match[0].strip()}")
    return found


def files(root: Path) -> list[Path]:
    """List the files that people read; recorded fixtures and this file are left out."""
    named = [root / name for name in FOLDERS]
    inside = [path for folder in named if folder.is_dir() for path in folder.rglob("*") if path.suffix in SUFFIXES]
    listed = [path for path in named if path.is_file()] + inside
    return [path for path in listed if "fixtures" not in path.parts and path.name != Path(__file__).name]


if __name__ == "__main__":
    where = count(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2])
    for name, places in where.items():
        sys.stdout.write(f"{len(places):5}  {name}\n")
