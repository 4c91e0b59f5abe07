"""Tests that need a system package: a browser, promtool. Not run unless named: `pytest tests/system`."""
