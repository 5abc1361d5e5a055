"""A progress bar of the diagnosis."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import rich
from rich.progress import track

Item = TypeVar("Item")


def watched(items: Sequence[Item], what: str) -> Iterable[Item]:
    """The items, with a bar that goes when they are done; none where the output is no terminal.

    Args:
        items: What is gone through.
        what: Stands before the bar.
    """
    console = rich.get_console()
    return track(items, what, console=console, transient=True, disable=not console.is_terminal)
