"""Hydra plug-ins: the sweepers ``grid`` and ``study``, and the launcher ``local_pool``.

Hydra imports these modules at every start, even for ``--help``, so torch and Optuna are imported on first use.
"""
