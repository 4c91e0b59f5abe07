"""The small languages: durations, patterns, schedules, zones, addresses, hosts; and what is shown of any text."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

from banken.address import resolve
from banken.errors import Refused
from banken.protocol import limits
from banken_supervisor.cli.printing import clean
from banken_supervisor.config import cron
from banken_supervisor.engine.patterns import matcher
from banken_supervisor.engine.policy import Window
from banken_supervisor.processes.environment_file import _variables
from banken_supervisor.text import durations, sanitize
from banken_supervisor.text.quoting import quoted
from banken_supervisor.web.listen_address import host_name, listen_address
from banken_supervisor.web.security import decoded
from fuzz.mutation import damaged
from fuzz.targets import Own, check_refused

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)


def _duration(text: str) -> None:
    seconds = durations.parse(text, zero=True)
    assert 0 <= seconds <= limits.SECONDS_MAX
    durations.format_s(seconds)


def _pattern(text: str) -> None:
    if len(text) > 256 or text.count("*") > 16 or text.count("[") > 32:
        return  # they are refused before (control_api.py)
    matches = matcher(text)
    matches("worker-1" * 16)


def _schedule(text: str) -> None:
    cron.check(text, 60.0)
    window = Window(text, 60.0, "Europe/Berlin")
    opening = cron.next_opening([window], NOW)
    assert opening is None or opening > NOW


def _host(text: str) -> None:
    assert host_name(text) == host_name(host_name(text))


def _shown(text: str) -> None:
    for made in (sanitize.one_line(text), sanitize.line(text), quoted(text), clean(text)):
        assert made.isprintable() or made == clean(text), made
        made.encode()
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", clean(text))
    sanitize.text(text, 100).encode()
    assert all(each.isprintable() for each in sanitize.last_lines(text))


def _path(text: str) -> None:
    path = decoded(text.encode("ascii", "replace"))
    assert path.count("/") == text.count("/"), path


_LANGUAGES: tuple[tuple[Callable[[str], Any], tuple[str, ...]], ...] = (
    (_duration, ("30s", "2m30s", "1.5h", ".5ms", " 7 d ", "1e3", "90", "١s")),
    (_pattern, ("worker-*", "w[!a-c]?", "[", "*a*b*c", "[]]", "[^x")),
    (_schedule, ("30 3 * * SUN", "*/5 0-6 1,15 * *", "0 2 L * *", "0 0 * * 1#2", "@daily", "0 0 29 2 *")),
    (cron.check_zone, ("Europe/Berlin", "UTC", "../etc/passwd", "posix/UTC", "")),
    (listen_address, ("127.0.0.1:7768", "[::1]:80", ":0", "localhost:65535", "::1")),
    (_host, ("watch.example.org", "EXAMPLE.org:80.", "[::1]:7768", "a_b")),
    (resolve, ("/run/banken", "tcp://host:7767", "ipc:///x", "~/a", "tcp://[::1]:1")),
    (limits.check_name, ("worker-1", "a/b@3.1", "_", "x" * 129)),
    (lambda text: list(_variables(text)), ("A=1\nB='two'\n", 'C="a\\"b"', "export D=1", "# no", "E")),
    (_shown, ("plain", "\x1b[31mred\x1b[0m", "a\u202eb", "\x9b2J", "\udcff", "one\ntwo")),
    (_path, ("/api/v1/watchdogs/a%2Fb", "/p/%252F", "/%ff%00", "//")),
)


class Texts(Own):
    """The first byte says which language, the rest is the text."""

    QUICK = 3_000

    def fresh(self, chance: Random) -> bytes:
        which = chance.randrange(len(_LANGUAGES))
        text = chance.choice(_LANGUAGES[which][1]).encode("utf-8", "surrogateescape")
        if chance.random() < 0.7:
            text = damaged(chance, text, chance.choice(_LANGUAGES[which][1]).encode("utf-8", "surrogateescape"))
        return bytes((which,)) + text

    def check(self, data: bytes) -> None:
        reads, _ = _LANGUAGES[(data[0] if data else 0) % len(_LANGUAGES)]
        text = data[1:65_536].decode("utf-8", "surrogateescape")
        try:
            reads(text)
        except Refused as fault:
            check_refused(fault)
        except ValueError as fault:  # of a schedule, a zone and an environment file, for the config to say
            if type(fault) is not ValueError:
                raise
            check_refused(fault)
