"""Phrases that violate the style of CONTRIBUTING.md, found by regular expressions."""

from pathlib import Path

import pytest

from helpers.dialect import PATTERNS, count

FOUND = count(Path(__file__).parents[2])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_text_follows_the_style_guide(pattern):
    assert FOUND[pattern] == []
