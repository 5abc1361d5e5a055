"""Hypothesis profiles: ``make test`` draws the same examples every time, ``make fuzz`` draws new ones.

``make fuzz`` also draws more examples, except in tests that set ``max_examples``.
"""

import os

from hypothesis import settings

collect_ignore = ["example_plugin"]  # a separate package, which test_plugin installs

settings.register_profile("test", derandomize=True, database=None)
settings.register_profile("fuzz", derandomize=False, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))
