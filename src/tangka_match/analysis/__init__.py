"""Plots of runs, and comparison of models; later diagnosis."""
