"""List the commands, or run one: ``python -m tangka_match [COMMAND [SETTINGS]]``."""

import ast
import sys
from importlib import import_module
from pathlib import Path

from tangka_match.errors import ConfigError
from tangka_match.terminal import lasting_output

COMMANDS = (
    "train",
    "evaluate",
    "compare",
    "diagnose",
    "search",
    "export",
    "runs",
    "report",
    "dashboard",
    "demo_data",
    "prepare",
    "extract",
    "convert",
)
USER_ERROR = 2
USAGE = "Usage: python -m tangka_match.COMMAND [SETTING=VALUE ...]; --help lists the settings of a command."


def summary(name: str) -> str:
    """Return the first docstring line of a command, read without importing it."""
    source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def list_commands() -> str:
    """Return one line per command."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {summary(name)}" for name in COMMANDS]
    return "\n".join([USAGE, "", *lines])


def main() -> None:
    """Run the command that the first argument names; without one, list the commands."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        with lasting_output():
            print(list_commands())
        return
    if name not in COMMANDS:
        print(f"{ConfigError.__name__}: {name}: there is no such command\n\n{list_commands()}", file=sys.stderr)
        sys.exit(USER_ERROR)
    sys.argv = [f"tangka_match.{name}", *sys.argv[2:]]
    import_module(f"tangka_match.{name}").main()


if __name__ == "__main__":
    main()
