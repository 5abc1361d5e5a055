"""Reading the tables under ``resources/``: rows of text in named sections."""

from importlib.resources import files


def read_table(name: str) -> dict[str, list[str]]:
    """Read ``resources/<name>.txt``.

    Lines that begin with ``#`` are comments, ``[section]`` opens a section; rows before the first are in ``""``.

    Returns:
        Rows by section, both in file order.
    """
    text = (files("tangka_match.data.demo") / "resources" / f"{name}.txt").read_text(encoding="utf-8")
    sections: dict[str, list[str]] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            sections.setdefault(section, []).append(line)
    return sections
