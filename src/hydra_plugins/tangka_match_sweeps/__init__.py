"""The sweepers ``grid`` and ``study`` and the launcher ``local_pool``, where Hydra looks for them.

Hydra imports every module here at each start, also for ``--help``: what needs torch or Optuna is imported later.
"""
