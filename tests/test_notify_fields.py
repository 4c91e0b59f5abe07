"""What a datagram of sd_notify says, whatever is in it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banken.protocol.limits import SECONDS_MAX, STATUS_MAX
from banken_supervisor.sources.notify_fields import DATAGRAM_MAX, PLAIN_FEED, Said, parse


@dataclass
class Case:
    data: bytes
    said: Said
    descriptors: int = 0


CASES = [
    Case(b"READY=1", Said(ready=True)),
    Case(b"READY=1\n", Said(ready=True)),
    Case(b"READY=1\0", Said(ready=True)),
    Case(b"WATCHDOG=1", PLAIN_FEED),
    Case(b"WATCHDOG=1\nWATCHDOG=trigger", Said(feeds=True)),
    Case(b"WATCHDOG=trigger\nSTATUS=stuck", Said(triggers=True, status="stuck")),
    Case(b"READY=1\nRELOADING=1\nSTOPPING=1", Said(stopping=True)),
    Case(b"RELOADING=1\nREADY=1\nMAINPID=42", Said(ready=True, main_pid=42)),
    Case(b"RELOADING=1\nMONOTONIC_USEC=12", Said(reloading=True)),
    Case(b"WATCHDOG_USEC=2500000", Said(timeout=2.5)),
    Case(b"WATCHDOG_USEC=1", Said(timeout=0.001)),
    Case(b"WATCHDOG_USEC=0", Said(timeout=inf)),
    Case(b"WATCHDOG_USEC=18446744073709551615", Said(timeout=inf)),
    Case(b"EXTEND_TIMEOUT_USEC=5000000", Said(extend=5.0)),
    Case(b"EXTEND_TIMEOUT_USEC=18446744073709551615", Said(extend=SECONDS_MAX)),
    Case("STATUS=läuft".encode(), Said(status="läuft")),
    Case(b"STATUS=a\nSTATUS=b", Said(status="a")),
    Case(b"STATUS=\x1b[31mred", Said(status="\\x1b[31mred")),
    Case(b"ERRNO=2", Said(why="errno 2: No such file or directory")),
    Case(b"ERRNO=2\nEXIT_STATUS=3", Said(why="errno 2: No such file or directory, exit status 3")),
    Case(b"BUSERROR=org.freedesktop.DBus.Error.TimedOut", Said(why="org.freedesktop.DBus.Error.TimedOut")),
    Case(b"X_BANKEN_PROGRESS=7", Said(progress=7)),
    Case(b"X_BANKEN_PROGRESS=7.5", Said(progress=7.5)),
    Case(b"X_BANKEN_PROGRESS=epoch 7", Said(progress="epoch 7")),
    Case(b"BARRIER=1", Said(barrier=True), descriptors=1),
    Case(b"FDSTORE=1\nFDNAME=x", Said(not_kept=("FDSTORE",)), descriptors=3),
    Case(b"X_OTHER=1\nMONOTONIC_USEC=9", Said()),
    Case(b"", Said()),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case.data))
def test_fields(case: Case) -> None:
    """Each field says what sd_notify(3) says of it."""
    assert parse(case.data, case.descriptors) == case.said


IGNORED = [
    b"WATCHDOG_USEC=-1",
    b"WATCHDOG_USEC=" + b"9" * 30,
    b"WATCHDOG_USEC=18446744073709551616",
    b"WATCHDOG_USEC=1.5",
    b"WATCHDOG_USEC=",
    "WATCHDOG_USEC=１".encode(),
    b"EXTEND_TIMEOUT_USEC= 1",
    b"MAINPID=0",
    b"MAINPID=1",
    b"MAINPID=-1",
    b"MAINPID=" + b"9" * 30,
    b"STATUS=\xff\xfe",
    b"READY=0",
    b"READY=yes",
    b"WATCHDOG=2",
    b"ERRNO=x",
    b"EXIT_STATUS=256",
    b"X_BANKEN_PROGRESS=nan",
    b"X_BANKEN_PROGRESS=inf",
    b"no equals sign",
]


@pytest.mark.parametrize("data", IGNORED)
def test_ignored(data: bytes) -> None:
    """A value that makes no sense is ignored, in a sentence, and what stands beside it counts."""
    said = parse(data + b"\nX_OTHER=1\nSTATUS=fine" if not data.startswith(b"STATUS") else data)
    assert isinstance(said, Said)
    assert len(said.ignored) == 1
    assert said._replace(ignored=(), status=None) == Said()
    assert data.startswith(b"STATUS") or said.status == "fine"


@pytest.mark.parametrize(
    ("data", "descriptors"),
    [
        (b"STATUS=" + b"x" * (DATAGRAM_MAX - 6), 0),
        (b"READY=1\0WATCHDOG=1", 0),
        (b"BARRIER=1", 0),
        (b"BARRIER=1", 2),
        (b"BARRIER=0", 1),
        (b"BARRIER=1\nREADY=1", 1),
    ],
)
def test_dropped(data: bytes, descriptors: int) -> None:
    """Too long, with a NUL in it, or a barrier that is none: nothing of it counts, and the sentence says why."""
    assert isinstance(parse(data, descriptors), str)


@given(
    st.one_of(
        st.binary(max_size=DATAGRAM_MAX + 2),
        st.lists(
            st.tuples(
                st.sampled_from(
                    [
                        b"READY", b"WATCHDOG", b"WATCHDOG_USEC", b"EXTEND_TIMEOUT_USEC", b"STATUS", b"RELOADING",
                        b"STOPPING", b"MAINPID", b"ERRNO", b"BUSERROR", b"EXIT_STATUS", b"BARRIER", b"FDSTORE",
                        b"X_BANKEN_PROGRESS", b"",
                    ]
                ),
                st.one_of(st.binary(max_size=40), st.integers().map(lambda n: b"%d" % n)),
            ),
            max_size=6,
        ).map(lambda pairs: b"\n".join(b"=".join(pair) for pair in pairs)),
    ),
    st.integers(0, 253),
)  # fmt: skip
def test_anything(data: bytes, descriptors: int) -> None:
    """Whatever comes is taken apart or dropped, and all that is taken is within its limits."""
    said = parse(data, descriptors)
    if isinstance(said, str):
        assert said.isprintable()
        return
    assert said.ready + said.reloading + said.stopping <= 1
    assert not (said.feeds and said.triggers)
    assert said.timeout is None or said.timeout >= 0.001
    assert said.extend is None or 0.0 <= said.extend <= SECONDS_MAX
    assert said.status is None or (len(said.status) <= STATUS_MAX and said.status.isprintable())
    assert said.main_pid is None or said.main_pid > 1
    assert all(text.isprintable() for text in said.ignored)
    if said.barrier:
        assert (said, descriptors) == (Said(barrier=True), 1)
