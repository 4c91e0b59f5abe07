"""What those say that know nothing of banken: datagrams of sd_notify, bodies of JSON, output of plugins."""

from __future__ import annotations

import json
import math
from random import Random

from banken.protocol.limits import PROGRESS_MAX, SECONDS_MAX, SECONDS_MIN, STATUS_MAX
from banken_supervisor.checks import exec as exec_checks
from banken_supervisor.checks import json_values
from banken_supervisor.sources.notify_fields import PLAIN_FEED, Said, parse
from fuzz.mutation import changed, damaged
from fuzz.targets import Own

_DATAGRAMS = (
    b"READY=1\nSTATUS=Ready to accept connections\nMAINPID=4711", b"WATCHDOG=1", b"WATCHDOG=trigger",
    b"RELOADING=1\nMONOTONIC_USEC=12345678901", b"STOPPING=1\nSTATUS=l\xc3\xa4uft aus",
    b"EXTEND_TIMEOUT_USEC=5000000", b"MAINPID=1", b"MAINPID=0", b"WATCHDOG_USEC=1",
    b"WATCHDOG_USEC=9999999999999999",
    b"WATCHDOG_USEC=18446744073709551615", b"ERRNO=2\nBUSERROR=org.freedesktop.DBus.Error.TimedOut\nEXIT_STATUS=3",
    b"X_BANKEN_PROGRESS=17.5\nWATCHDOG=1", b"FDSTORE=1\nFDNAME=foo", b"BARRIER=1", b"MAINPID=\xd9\xa1\nX=\0",
)  # fmt: skip
_EXPECTED = {"status.db": "ok", "queues[0].length": "< 100", "up": True, "n": 3}
_OUTPUTS = (b"DISK OK - free 12 GB | /=12GB;1;2", b"", b"\n\nCRITICAL: \x1b[31mno\n", b"UNKNOWN|", b"ok \xff\xfe")


class NotifyAndChecks(Own):
    """The first byte says which, the second how many descriptors came, or how the plugin ended."""

    QUICK = 2_000

    def fresh(self, chance: Random) -> bytes:
        which, number = chance.randrange(3), chance.choice((0, 0, 1, 2, 3, 253))
        if which == 0:
            data = chance.choice(_DATAGRAMS)
            data = damaged(chance, data, chance.choice(_DATAGRAMS)) if chance.random() < 0.8 else data
        elif which == 1:
            good = {"status": {"db": "ok"}, "queues": [{"length": 7}], "up": True, "n": 3}
            data = json.dumps(changed(chance, good), default=repr).encode()
            data = damaged(chance, data) if chance.random() < 0.5 else data
        else:
            data = damaged(chance, chance.choice(_OUTPUTS), chance.choice(_OUTPUTS))
        return bytes((which, number)) + data

    def check(self, data: bytes) -> None:
        which, number, data = data[0] % 3 if data else 0, data[1] if len(data) > 1 else 0, data[2:]
        if which == 0:
            _check_said(parse(data, number), data, number)
        elif which == 1:
            _check_words(json_values.judge(data, _EXPECTED))
        else:
            outcome = exec_checks._nagios("check_disk", number, data.decode("utf-8", "backslashreplace"))
            assert outcome.passed == (number <= 1)


def _check_said(said: Said | str, data: bytes, descriptors: int) -> None:
    if isinstance(said, str):
        _check_words(said)
        return
    assert not said.barrier or (descriptors == 1 and data.rstrip(b"\0\n").endswith(b"1"))
    assert said.ready + said.reloading + said.stopping <= 1
    assert said.timeout is None or said.timeout == math.inf or SECONDS_MIN <= said.timeout < SECONDS_MAX
    assert said.extend is None or 0.0 <= said.extend <= SECONDS_MAX
    assert said.main_pid is None or 1 < said.main_pid <= 2**22
    assert said.status is None or (said.status.isprintable() and len(said.status) <= STATUS_MAX + 3)
    if isinstance(said.progress, str):
        assert said.progress.isprintable()
        assert len(said.progress) <= PROGRESS_MAX
    else:
        assert said.progress is None or math.isfinite(said.progress)
    for each in said.ignored:
        _check_words(each)
    assert said is not PLAIN_FEED or data.strip(b"\n") == b"WATCHDOG=1"


def _check_words(words: str | None) -> None:
    """It can be shown as it is."""
    assert words is None or (words.isprintable() and 5 <= len(words) <= 1_000), words
