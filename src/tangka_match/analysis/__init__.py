"""Plots of runs, comparison of models, diagnosis."""
