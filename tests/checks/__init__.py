"""Checks: each kind against what is really there."""
