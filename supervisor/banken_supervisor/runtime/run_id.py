"""What the incident ids of one run of a supervisor begin with."""

from __future__ import annotations

import os

from banken.clock import wall


def new_run_id() -> str:
    """Milliseconds since 1970 in base 36, and a random end: two runs never share it, and ids sort by age."""
    digits, number = "", int(wall() * 1000)
    while number:
        number, rest = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    return f"{digits or '0'}{os.urandom(2).hex()}"
