"""Losses on a similarity matrix: one a file, a pure function and a thin module; curriculum schedules; combination."""
