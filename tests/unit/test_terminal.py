import io
import os
import sys

import pytest

from tangka_match.terminal import lasting_output


@pytest.fixture
def stdout(monkeypatch):
    """Replace ``sys.stdout`` by a text stream on a descriptor."""

    def replace(descriptor, encoding="utf-8"):
        stream = io.TextIOWrapper(os.fdopen(descriptor, "wb"), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        return stream

    return replace


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("opened", [closed_pipe, lambda: os.open("/dev/full", os.O_WRONLY)])
def test_readers_that_have_gone_and_full_disks_are_ignored(stdout, opened):
    stream = stdout(opened())
    with lasting_output():
        for _ in range(3):
            say("x" * 100_000)
    assert sys.stdout is stream
    stream.flush()  # as Python does at exit


def test_characters_outside_the_encoding_are_escaped(stdout, tmp_path):
    stream = stdout(os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT), "ascii")
    with lasting_output():
        say("image→text 唐卡")
    stream.close()
    assert (tmp_path / "out").read_text("ascii") == "image\\u2192text \\u5510\\u5361\n"


def test_missing_and_closed_streams_are_replaced(stdout, monkeypatch):
    stream = stdout(os.open(os.devnull, os.O_WRONLY))
    with lasting_output():
        stream.close()
        say("x")
    monkeypatch.setattr(sys, "stdout", None)
    with lasting_output():
        say("x")
        sys.stdout.write("x")


def test_other_streams_are_kept(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with lasting_output():
        say("唐卡")
    assert sys.stdout.getvalue() == "唐卡\n"
