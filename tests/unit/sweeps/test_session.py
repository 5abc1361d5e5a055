import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from tangka_match.sweeps.session import quoted


@pytest.mark.parametrize("text", ["/a b/c", "/it's", "/x,y=[z]", "/唐卡", "/back\\slash", "/ends\\'"])
def test_quoted_path_is_parsed_by_hydra(text):
    (override,) = OverridesParser.create().parse_overrides([f"a={quoted(text)}"])
    assert override.value() == text
