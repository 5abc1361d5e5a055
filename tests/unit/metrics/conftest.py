"""Fixtures of the metric tests."""

import jaxtyping
import pytest


@pytest.fixture
def as_users_run(monkeypatch):
    """Switch jaxtyping's checks off, as they are outside tests, to see our own messages instead of its."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
