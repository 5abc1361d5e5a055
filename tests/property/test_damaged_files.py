"""No damaged file, whatever it holds, is an unexpected exception for its reader."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.damaged_files import KINDS, unexpected

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))


def check(kind, seed):
    with tempfile.TemporaryDirectory() as folder:
        said, error = unexpected(kind, Path(folder), seed)
    if error is not None:
        raise AssertionError(f"{kind}, {said}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("kind", KINDS)
def test_sound_file_is_read(kind, tmp_path):
    assert unexpected(kind, tmp_path, None) == ("", None)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_file_is_a_clean_error_or_is_skipped(kind, seed):
    check(kind, seed)
