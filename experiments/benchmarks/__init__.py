"""How fast the matchers are: `python -m benchmarks` with experiments/ on the path, or `make bench`."""
