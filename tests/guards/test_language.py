"""The style of CONTRIBUTING.md, as far as patterns can find what is against it."""

from pathlib import Path

import pytest

from helpers.dialect import PATTERNS, count

FOUND = count(Path(__file__).parents[2])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_phrase_that_the_style_rules_out(pattern):
    assert FOUND[pattern] == []
