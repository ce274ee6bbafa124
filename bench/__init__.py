"""Benchmarks against named baselines, both measured in one run: ``python -m bench``, or ``make bench``."""
