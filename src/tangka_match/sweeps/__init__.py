"""Sweeps: the folder and manifest of a sweep, points already done, studies, seeds, and jobs side by side.

No Hydra here: ``config.sweeps`` composes the jobs, this package keeps their books.
"""
