"""Inputs of any kind for everything that reads what others wrote. ``python -m fuzz.run`` from ``tests/``."""
