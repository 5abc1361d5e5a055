"""Plots of runs; later significance, diagnosis, comparison."""
