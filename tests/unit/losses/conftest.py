"""Fixtures of the loss tests."""

import jaxtyping
import pytest


@pytest.fixture
def without_shape_checks(monkeypatch):
    """Disable jaxtyping's checks, as outside the tests, so that our own errors are raised."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
