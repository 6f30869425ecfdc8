"""The benchmarks of `tools/benchmark.py`, one a file, and what they share."""
