"""Sweeps: grids, Optuna studies and repetitions with several seeds, with their Hydra integration.

Each sweep has a folder with a manifest that lists its jobs and how they ended, so that a repeated command continues it.
"""
