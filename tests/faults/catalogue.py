"""All faults, in the order of the table."""

from __future__ import annotations

# isort: off
from . import stalls, shortages, floods

# isort: on
from .fault import FAULTS, PROMISES, Fault

__all__ = ["FAULTS", "PROMISES", "Fault", "floods", "shortages", "stalls"]
