"""Tests between real processes."""
