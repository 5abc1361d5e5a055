"""Sweeps under Hydra: composes and checks the jobs, hands them to a launcher, and says what a job does.

``hydra_plugins.tangka_match_sweeps`` registers the thin classes that Hydra looks for; the books are kept by
``tangka_match.sweeps``.
"""
