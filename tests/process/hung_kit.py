"""What the tests of evidence share: workers of hang.py, the ways to look at them, what must hold of any look."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from banken.protocol.messages import ProcessIdentity
from banken_supervisor.evidence import collect, render, summary_lines
from banken_supervisor.evidence.size_limits import size
from process.kit import SCRIPTS, Child, until

SOURCE = (SCRIPTS / "hang.py").read_text().splitlines()

SECONDS_MAX = 20.0
"""Generous, for a busy machine; what keeps to a limit has a test of its own."""

WAYS = [
    pytest.param("py-spy", "no", True, id="py-spy"),
    pytest.param("the worker", "dumps", False, id="asked"),
    pytest.param("faulthandler", "signal", False, id="signal"),
]
"""(who gives the stacks, what the worker enabled, whether py-spy may be used)"""


def line_of(function: str, mark: str = "# here") -> int:
    """The line that a function of hang.py hangs in."""
    start = next(n for n, text in enumerate(SOURCE) if re.match(rf"(?:async )?def {function}\(", text))
    return next(n for n, text in enumerate(SOURCE[start:], start + 1) if text.endswith(f"  {mark}"))


def identity(told: dict[str, Any]) -> ProcessIdentity:
    """Who said so."""
    return ProcessIdentity(bytes.fromhex(told["boot"]), told["pid"], told["start"], bytes.fromhex(told["nonce"]))


class Hung:
    """A worker that hangs, and looks at it."""

    def __init__(self, address: str, hang: str, dumps: str, *args: object) -> None:
        self.address = address
        self.child = Child("hang", hang, address, dumps, *args)

    def hear(self) -> ProcessIdentity:
        """Who it says it is."""
        self.told = self.child.hear()
        return identity(self.told)

    def look(
        self, who: ProcessIdentity, place: str, py_spy: str | bool, *more: str, **limits: Any
    ) -> dict[str, Any]:
        """Evidence that tells ``place``, and ``more`` places: it says who it is just before it hangs there."""
        evidence: dict[str, Any] = {}

        def there() -> bool:
            evidence.update(collect_(who, self.address, py_spy=py_spy, **limits))
            told = str(evidence["threads"]) + str(evidence["tasks"]) + evidence["headline"]
            return all(each in told for each in (place, *more))

        until(there, f"{place} is told", 30)
        evidence.clear()  # its parts are taken one after the other: now it hangs in all of them
        assert there(), evidence["headline"]
        return evidence


def collect_(who: ProcessIdentity, address: str, **limits: Any) -> dict[str, Any]:
    """Evidence, which is plain data within its bounds, whatever was found."""
    evidence = collect(who, address_directory=address, **{"seconds_max": SECONDS_MAX, **limits})
    assert json.loads(json.dumps(evidence)) == evidence
    assert size(evidence) <= limits.get("bytes_max", 256 * 1024)
    for line in [evidence["headline"], *render(evidence), *summary_lines(evidence, 12)]:
        assert line.isprintable(), line
    return evidence


@contextmanager
def workers_at(address: str) -> Iterator[Any]:
    """Starts workers of hang.py, and ends them."""
    started: list[Hung] = []

    def make(hang: str, dumps: str, *args: object) -> Hung:
        started.append(Hung(address, hang, dumps, *args))
        return started[-1]

    yield make
    for each in started:
        each.child.close()


def frames_of(evidence: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The stack of one thread."""
    return next(each["frames"] for each in evidence["threads"] if each["name"] == name)


def signals_pending(pid: int) -> int:
    """The set of signals that wait for a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(int(each, 16) for each in re.findall(r"^(?:SigPnd|ShdPnd):\s*(\w+)", status, re.M))


def hung_identity(hung: Hung) -> ProcessIdentity:
    """Who it said it is."""
    return identity(hung.told)
