"""Benchmarks of the as-of join: ``python -m benchmarks``."""
