"""Speed benchmarks: `make bench`, or `python -m benchmarks` with experiments/ on the path."""
