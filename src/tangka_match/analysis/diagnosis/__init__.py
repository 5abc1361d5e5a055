"""Diagnosis of a dataset or a run: findings with numbers and charts, in the terminal and on a page."""
