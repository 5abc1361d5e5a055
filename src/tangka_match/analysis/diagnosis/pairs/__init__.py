"""Pairs of image and caption that a cross-validation shows to be suspicious."""
