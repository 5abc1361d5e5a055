"""Path of the shared fixtures and data, and marks that skip tests without them."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("TANGKA_MATCH_SHARED", Path(__file__).resolve().parents[3] / "shared"))

needs_shared = pytest.mark.skipif(
    not (SHARED / "fixtures").is_dir(), reason=f"the shared fixtures are not at {SHARED} (set TANGKA_MATCH_SHARED)"
)
needs_f8kcn = pytest.mark.skipif(
    not (SHARED / "data" / "f8kcn").is_dir(), reason=f"Flickr8k-CN is not at {SHARED} (set TANGKA_MATCH_SHARED)"
)
