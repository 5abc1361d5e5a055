"""Configuration of a run: where ``conf/`` is, checks of the composed config, building objects, explaining errors.

Composing a config imports no torch, so that ``--help`` and ``--cfg job`` answer at once.
"""
