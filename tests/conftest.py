"""Hypothesis profiles: ``make test`` draws the same examples every time, ``make fuzz`` draws fresh ones.

``make fuzz`` also draws more of them, except in tests that set ``max_examples`` themselves.
"""

import os

from hypothesis import settings

collect_ignore = ["example_plugin"]  # a package of its own, which test_plugin installs

settings.register_profile("test", derandomize=True, database=None)
settings.register_profile("fuzz", derandomize=False, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))
