from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from tangka_match.settings import Ascending, OneOrMore, Settings, Text


class Example(Settings):
    run: Text | None
    names: Annotated[list[Text], OneOrMore, Field(min_length=1)]
    seeds: Annotated[list[int], Ascending]


def build(**given):
    return Example(**{"run": None, "names": ["a"], "seeds": [0]} | given)


def test_unknown_fields_are_refused():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        build(rum="x")


def test_settings_are_immutable():
    with pytest.raises(ValidationError, match="frozen"):
        build().run = "x"


@pytest.mark.parametrize(("given", "read"), [(20260101, "20260101"), ("last", "last"), (None, None)])
def test_text_accepts_numbers_and_keeps_none(given, read):
    assert build(run=given).run == read


@pytest.mark.parametrize(("given", "read"), [("a", ["a"]), (7, ["7"]), (["a", 7], ["a", "7"])])
def test_one_or_more_accepts_a_single_value(given, read):
    assert build(names=given).names == read


@pytest.mark.parametrize("given", [None, [], {"a": 1}])
def test_one_or_more_refuses_none_empty_lists_and_dicts(given):
    with pytest.raises(ValidationError):
        build(names=given)


def test_ascending_sorts_and_refuses_repeated_values():
    assert build(seeds=[2, 0, 1]).seeds == [0, 1, 2]
    with pytest.raises(ValidationError, match=r"\[1, 1\] must not repeat a value"):
        build(seeds=[1, 1])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": True}, r"(?s)1 validation error.*\nsize\n.*valid integer .*input_value=true"),
        ({"sizes": [1, False]}, r"\nsizes\.1\n.*valid integer .*input_value=false"),
        ({"share": True}, r"\nshare\n.*valid number .*input_value=true"),
        ({"size": 1, "flag": 1.5}, r"\nflag\.bool\n"),
        ({"size": True, "share": "a", "more": 1}, r"(?s)3 validation errors.*\nsize\n.*\nshare\n.*\nmore\n"),
    ],
)
def test_exception_booleans_are_not_numbers(values, message):
    class Example(Settings):
        size: Annotated[int, Field(ge=0)] | None = None
        sizes: list[int] = Field(default_factory=list)
        share: float = 0.0
        flag: bool | int = False

    assert Example(flag=True, size=1).flag is True
    with pytest.raises(ValidationError, match=message):
        Example(**values)
