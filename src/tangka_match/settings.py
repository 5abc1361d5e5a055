"""Base class and field types of all typed settings.

Commands, runs and sweeps check their configs with pydantic models that derive from `Settings`. The field types accept
values as Hydra parses them from a command line: a run id of digits arrives as a number, and a list of one entry may
arrive without its brackets. This module imports neither torch nor Hydra.

- `Settings`: immutable model that refuses unknown fields.
- `Text`: string that may arrive as a number.
- `OneOrMore`: marker of a non-empty list whose only entry may be given without brackets.
- `Ascending`: marker of a list of distinct numbers, sorted in ascending order.

Example:
    >>> from typing import Annotated
    >>> class Example(Settings):
    ...     runs: Annotated[list[Text], OneOrMore]
    ...     seeds: Annotated[list[int], Ascending]
    >>> Example(runs=20260101, seeds=[2, 0, 1])
    Example(runs=['20260101'], seeds=[0, 1, 2])
"""

from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, model_validator


class Settings(BaseModel):
    """Immutable settings that refuse unknown fields, and booleans where numbers are expected."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _mark_booleans(cls, values: Any) -> Any:
        """Keep pydantic from converting a boolean to 1 or 0: its field refuses the mark, as it refuses text."""
        if not isinstance(values, dict):
            return values
        marked = dict(values)
        for name in cls.model_fields.keys() & values.keys():
            types = _types_in(cls.model_fields[name].annotation)
            if not {bool, Any} & types and {int, float} & types:
                marked[name] = _marked(values[name])
        return marked


@dataclass(frozen=True)
class _Boolean:
    """Boolean where numbers are expected; shown as in YAML."""

    value: bool

    def __repr__(self) -> str:
        return str(self.value).lower()


def _types_in(annotation: Any) -> set[Any]:
    """Return the types that an annotation is made of.

    >>> _types_in(Annotated[list[int] | None, "at least one"]) == {int, type(None)}
    True
    """
    parts = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    return {annotation} if not parts else {name for part in parts for name in _types_in(part)}


def _marked(value: Any) -> Any:
    """Return a value with its booleans marked.

    >>> _marked({"sizes": [1, False]})
    {'sizes': [1, false]}
    """
    if isinstance(value, dict):
        return {key: _marked(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_marked, value))
    return _Boolean(value) if isinstance(value, bool) else value


def _as_text(value: Any) -> Any:
    return value if value is None else str(value)


def _as_list(value: Any) -> Any:
    return value if value is None or isinstance(value, list | dict) else [value]


def _ascending(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError(f"{values} must not repeat a value")
    return sorted(values)


Text = Annotated[str, BeforeValidator(_as_text)]
OneOrMore = BeforeValidator(_as_list)
Ascending = AfterValidator(_ascending)
