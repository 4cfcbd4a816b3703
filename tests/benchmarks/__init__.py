"""Measurements: `python -m tests.benchmarks` prints the figures that docs/ quotes."""
