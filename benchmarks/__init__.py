"""Measurements and comparisons, one command each: ``python -m benchmarks.<name>``."""
