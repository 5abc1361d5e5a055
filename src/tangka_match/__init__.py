"""Match Chinese captions with images on precomputed region features.

The way data flows, in one line: ``conf/`` → entry point → ``config`` builds objects → ``training.runner.train`` →
``DataModule`` → ``RegionTextBatch`` → ``Matcher`` → similarity (images × captions) → loss and ranks.
"""

__version__ = "0.1.0"
