"""Fixtures of the loss tests."""

import jaxtyping
import pytest


@pytest.fixture
def as_users_run(monkeypatch):
    """Switch off jaxtyping's checks, as outside tests, so that our own messages are raised."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
