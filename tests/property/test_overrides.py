"""No override, whatever it holds, ends a command with an unexpected exception."""

import functools
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.attacked_commands import COMMANDS, attack, options_of, settings_of
from helpers.bad_input import assert_one_message
from helpers.cli import run_cli_in_process

VALUES = [
    *("null", "true", "false", "0", "1", "-1", "2", "1.5", "nan", "inf", "-inf", "1e400", "1" * 5000, "9" * 30, "0x1f"),
    *(
        "''",
        "a word",
        "绿度母",
        "a.b",
        ".",
        "..",
        "/",
        "~",
        "a=b",
        "last",
        "cpu",
        "cuda",
        "val",
        "[]",
        "[null]",
        "[1,1]",
    ),
    *("[a,2]", "[[[]]]", "[true]", "{}", "{a:1}", "{_target_:nan}", "{a:{b:[]}}", "[", "{", "'", "a,b", "range(3)"),
    *("choice(1,2)", "${seed}", "${nothing}", "${", "${data}", "${oc.env:NOTHING}", "???", "\\", "-", "+", "1_0"),
    *("_target_", "nowhere", "torch.nn", "builtins.print", "math.inf", "tangka_match.losses.HALLoss", "tangka_match"),
    *("torch.optim.SGD", "pytorch_lightning.Trainer", "2024-01-01", "\t", "%", "#", "@", "null,null"),
]
ENDINGS = ("", "", "", "", "._target_", "._args_", ".more", "._convert_", "._partial_", "._recursive_")
FOUND = [
    ("train", ["loss=null"]),
    ("train", ["data=true"]),
    ("train", ["~data=[]"]),
    ("train", ["model._target_=nan"]),
    ("train", ["trainer.max_epochs=true"]),
    ("train", ["~loss"]),
    ("train", ["++model=3"]),
    ("train", ["++data.root._args_=1"]),
    ("runs", ["paths=null"]),
    ("evaluate", ["++data.mix.more=a.b", "+data.mix=a.b"]),
    ("evaluate", ["data=null", "checkpoint=a", "out=b"]),
    ("search", ["data.exclude._recursive_=" + "1" * 5000]),
    ("search", ["index=hnsw"]),
]
"""Overrides that once ended a command with a traceback, or were taken for numbers."""
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))


@functools.cache
def names(command):
    return settings_of(command), options_of(command)


@st.composite
def commands(draw):
    command = draw(st.sampled_from(COMMANDS))
    known, options = names(command)
    words = []
    for _ in range(draw(st.integers(1, 3))):
        if options and draw(st.integers(0, 3)) == 0:
            words.append(draw(st.sampled_from(options)))
            continue
        sign = draw(st.sampled_from(("", "", "", "", "+", "++", "~")))
        name = draw(st.sampled_from(known)) + draw(st.sampled_from(ENDINGS))
        value = draw(st.one_of(*3 * [st.sampled_from(VALUES)], st.text(max_size=8)))
        bare = sign == "~" and draw(st.booleans())
        words.append(f"{sign}{name}" + ("" if bare else f"={value}"))
    return command, words


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("attacked")


@pytest.mark.parametrize(("command", "words"), FOUND, ids=[" ".join([c, *w])[:60] for c, w in FOUND])
def test_found_before(folder, command, words):
    error = attack(command, words, folder)
    if error is not None:
        raise error


def test_booleans_are_not_numbers(folder):
    done = run_cli_in_process("trainer.max_epochs=true", f"paths.runs={folder / 'runs'}")
    assert_one_message(done, r"trainer\.max_epochs=true: Input should be a valid integer")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss=null"], r"loss=null: choose a file of conf/loss by its name: .*curriculum"),
        (["data=true"], r"data=true: choose a file of conf/data by its name: .*demo"),
        (["~data=[]"], r"~data=\[\]: choose a file of conf/data"),
        (["~loss"], r"loss is missing: choose one of conf/loss"),
        (["model._target_=nan"], r"model\._target_=nan: give the dotted name of a class"),
        (["+data.mix=a.b"], r"\+data\.mix: the config has this setting already; write data\.mix=<value>"),
    ],
)
def test_exception_names_the_override(folder, words, message):
    assert_one_message(run_cli_in_process(*words, f"paths.runs={folder / 'runs'}"), message)


@given(commands())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_override_is_an_unexpected_exception(folder, drawn):
    command, words = drawn
    error = attack(command, words, folder)
    if error is not None:
        raise AssertionError(f"{command} {words}: {type(error).__name__}") from error
