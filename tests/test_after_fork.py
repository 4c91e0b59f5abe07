"""What objects of the parent do in a forked child."""

from __future__ import annotations

import os
from collections.abc import Callable

from banken.process_identity import after_fork


class Forked:
    def __init__(self, act: Callable[[], object]) -> None:
        self._forked = act
        after_fork(self)


def fails() -> None:
    raise ValueError("a fault")


def test_a_fault_of_one_keeps_none_of_the_others_from_its_part() -> None:
    """In whatever order they come: ten of twenty fail."""
    runs, told = os.pipe()
    kept = [Forked(act) for act in (fails, lambda: os.write(told, b"1")) for _ in range(10)]
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(runs, 100) == b"1" * (len(kept) // 2)
    os.close(runs)
    os.close(told)
