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

import json
from typing import Annotated, Any, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator


class Settings(BaseModel):
    """Immutable settings that refuse unknown fields, and booleans where numbers are expected."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_boolean(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what pydantic would convert to 1 and 0."""
        types = _types_in(cls.model_fields[str(info.field_name)].annotation)
        if not {bool, Any} & types and {int, float} & types and _holds_boolean(value):
            says = "is a boolean, not a number" if isinstance(value, bool) else "holds a boolean, not only numbers"
            raise ValueError(f"{json.dumps(value, ensure_ascii=False, default=str)} {says}")
        return value


def _types_in(annotation: Any) -> set[Any]:
    """Return the types that an annotation is made of.

    >>> _types_in(Annotated[list[int] | None, "at least one"]) == {int, type(None)}
    True
    """
    parts = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    return {annotation} if not parts else {name for part in parts for name in _types_in(part)}


def _holds_boolean(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return isinstance(value, bool) or any(map(_holds_boolean, inner))


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
