import shlex
import typing
from importlib import import_module
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from pydantic import BaseModel

from tangka_match.config.quoting import TEXT_SETTINGS, quote_as_typed, quoted_for_the_shell
from tangka_match.training.settings import RunSettings

COMMANDS = (
    *("compare", "convert", "dashboard", "diagnose", "evaluate", "export", "extract"),
    *("prepare", "report", "runs", "search"),
)
NO_FREE_TEXT = {
    *("bars", "lines", "parameters"),  # metrics and settings of the dashboard
    *("distillation.loss", "trainer.profiler", "training.lr_multipliers"),
}
"""Settings whose values are names from a list, or that hold a node."""


def value_of(word):
    return OverridesParser.create().parse_override(word).value()


@pytest.mark.parametrize("text", ["2024", "1e3", "007", "2026_11", "true", "False", "-1.5", ".5", "inf", "NaN", "1."])
@pytest.mark.parametrize("name", ["name", "data.root", "out", "+init_from"])
def test_text_that_looks_like_a_number_stays_text(name, text):
    assert value_of(quote_as_typed(f"{name}={text}")) == text


def test_a_backslash_at_the_end_does_not_escape_the_quote():
    assert value_of(quote_as_typed("name=唐卡\\")) == "唐卡\\"


def test_entries_of_a_list_stay_text():
    assert value_of(quote_as_typed("tags=[2024,a1,true,唐卡 1]")) == ["2024", "a1", "true", "唐卡 1"]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("tags=[唐卡(1),a]", ["唐卡(1)", "a"]),
        ("tags=[唐卡 (1, 2),a(b)唐,[三,4]]", ["唐卡 (1, 2)", "a(b)唐", ["三", "4"]]),
        ("tags=['a, b',唐卡,None]", ["a, b", "唐卡", None]),
        ("name=唐卡(1)", "唐卡(1)"),
        ("training.swa_begin=None", None),
        ("+x={a: None, b: [唐, 1]}", {"a": None, "b": ["唐", 1]}),
        ("tags=[]", []),
        ("name=None of it", "None of it"),
    ],
)
def test_entries_are_read_as_typed(word, value):
    assert value_of(quote_as_typed(word)) == value


@pytest.mark.parametrize("listed", ["choice(null,0.9)", "choice(None, 0.9)", "null,0.9", "None,0.9"])
def test_choice_may_hold_null(listed):
    override = OverridesParser.create().parse_override(quote_as_typed(f"training.ema_decay={listed}"))
    assert list(override.sweep_string_iterator()) == ["null", "0.9"]


@pytest.mark.parametrize(
    "word",
    [
        "seed=2024",
        "loss.margin=tag(log,interval(0.1,0.2))",
        "model=choice(vse,'a,b')",
        "seed=range(1,5)",
        "name=run2024",
        "resume=null",
        "name='2024'",
        "trainer.max_steps=-1",
        "-m",
        "~data.root",
    ],
)
def test_other_words_stay_as_they_are(word):
    assert quote_as_typed(word) == word


@pytest.mark.parametrize(
    "value", ["a=b", "/a,b", "/a#b", "/a'b", "[a", "/a{b}", "/a(b)", 'a"b', "a'\"b", "/$x", "/a`b"]
)
def test_word_for_the_shell_gives_the_value(value):
    (word,) = shlex.split(quoted_for_the_shell(f"data.root={value}"))
    assert value_of(word) == value.replace("${", "\\${")


def test_home_is_expanded():
    assert quoted_for_the_shell("data.root=~/a,b") == f"\"data.root='{Path.home()}/a,b'\""


def text_fields(kind, prefix=""):
    """Yield the names of the fields that may hold any text."""
    for name, field in kind.model_fields.items():
        parts = [field.annotation]
        for part in parts:
            parts += typing.get_args(part)
        nested = [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]
        for part in nested:
            yield from text_fields(part, f"{prefix}{name}.")
        if not nested and {str, Path} & {part for part in parts if isinstance(part, type)}:
            yield prefix + name


@pytest.mark.parametrize("module", COMMANDS)
def test_table_names_all_text_settings_of_a_command(module):
    kinds = [
        kind
        for kind in vars(import_module(f"tangka_match.{module}")).values()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and "config" not in kind.model_fields
    ]
    top = [kind for kind in kinds if kind.__module__ == f"tangka_match.{module}"]
    inner = {part for kind in top for field in kind.model_fields.values() for part in typing.get_args(field.annotation)}
    inner |= {field.annotation for kind in top for field in kind.model_fields.values()}
    found = {name for kind in top if kind not in inner for name in text_fields(kind)}
    assert found
    assert found - NO_FREE_TEXT - TEXT_SETTINGS == set()


def test_table_names_all_text_settings_of_a_run():
    assert set(text_fields(RunSettings)) - NO_FREE_TEXT - TEXT_SETTINGS == set()
