"""Notifications through apprise to real servers on loopback."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from banken_supervisor.actions import build
from banken_supervisor.actions.action_executor import Executor
from banken_supervisor.actions.notify import secret_parts
from banken_supervisor.actions.target import ActionReport
from banken_supervisor.text.sanitize import redact
from http_kit import Server, status
from recovery_kit import Desk, run, subject, until

pytestmark = [
    pytest.mark.notify,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # apprise imports modules that Python retires
]


class Inbox(Server):
    """Takes apprise's JSON messages; ``code`` is what it answers."""

    def __init__(self) -> None:
        super().__init__(lambda handler, number: status(self.code)(handler, number))
        self.code = 200
        self.url = f"json://someone:hunter2@127.0.0.1:{self.port}/token-1234"

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.seen]


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    one = Inbox()
    yield one
    one.close()


@pytest.fixture
def refused() -> str:
    """A URL at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"json://someone:hunter2@127.0.0.1:{free.getsockname()[1]}/token-1234"


def test_a_message_says_what_people_need(inbox: Inbox) -> None:
    """Title with level, name, cause and silence; body with the evidence's first line and the link."""
    about = subject(
        level="critical",
        link="https://banken.example/i/1",
        evidence={"headline": "MainThread in f (job.py:42)"},
        told={"reason": "<b>@everyone</b> \x1b[2J"},
    )
    done = run(build("notify", {"to": "oncall"}), about, Desk([inbox.url]))
    assert (done.ok, done.data["sent"]) == (True, ["1 (JSON)"])
    [message] = inbox.messages
    assert message["title"] == "[critical] worker-3: timeout, silent for 12.3 s"
    assert message["type"] == "failure"
    for words in ("MainThread in f (job.py:42)", "https://banken.example/i/1", "5.0 s", "@everyone", "\\x1b[2J"):
        assert words in message["message"]


def test_a_recovery_is_good_news(inbox: Inbox) -> None:
    """The notice of recovery has apprise's type ``success`` and says so; another level is a warning."""
    run(build("notify", {"to": "oncall"}), subject(recovered=True, level="critical"), Desk([inbox.url]))
    run(build("notify", {"to": "oncall"}), subject(level="warning"), Desk([inbox.url]))
    good, bad = inbox.messages
    assert (good["type"], good["title"]) == ("success", "worker-3: recovered")
    assert bad["type"] == "warning"


def test_each_service_is_told_though_others_fail(inbox: Inbox, refused: str) -> None:
    """A service that refuses, one that nobody answers for, a URL that is none: each is told by number and reason,
    and the last one still gets its message."""
    no = Inbox()
    no.code = 403
    try:
        urls = [refused, "nonsense://", no.url, inbox.url]
        done = run(build("notify", {"to": "oncall"}), subject(), Desk(urls))
    finally:
        no.close()
    assert not done.ok
    assert done.data["sent"] == ["4 (JSON)"]
    first, second, third = done.data["failed"]
    assert first.startswith("1 (JSON): A Connection error occurred")
    assert second.startswith("2 (unknown service): apprise has no service")
    assert third.startswith("3 (JSON): Failed to send")
    assert "403" in third
    assert len(inbox.messages) == 1


def test_nothing_secret_is_told_or_logged(inbox: Inbox, refused: str, caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG, neither password nor token is written or part of the outcome."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("apprise").setLevel(logging.DEBUG)
    try:
        action = build("notify", {"to": "oncall"})
        outcomes = [
            run(action, subject(), Desk([url])) for url in (inbox.url, refused, "nosuch://hunter2/token-1234")
        ]
    finally:
        logging.getLogger("apprise").setLevel(logging.NOTSET)
    for words in ("hunter2", "token-1234"):
        assert words not in caplog.text
        assert words not in repr(outcomes)


def test_a_target_is_called_by_its_name(inbox: Inbox, refused: str) -> None:
    """Whatever its URL holds, its password too: secrets are masked in what a service says, and nowhere else."""
    reports: list[ActionReport] = []
    action = build("notify", {"to": "oncall"})
    for url in (inbox.url, refused):
        for secret in ("someone", "hunter2", "token-1234"):
            executor = Executor(Desk([url.replace(secret, "oncall")]), reports.append)
            executor.submit([action], subject())
            until(lambda: len(reports) > 0, "it is reported")
            executor.close(10)
            expected = "1 sent" if url is inbox.url else "1 of 1 failed: 1 (JSON): A Connection"
            assert reports.pop().text.startswith(f"oncall: {expected}")


@pytest.mark.parametrize(
    ("url", "secret", "shown"),
    [
        (
            "mailto://ops:hunter2@mail.example.org?to=oncall@example.org", ("hunter2",),
            ("ops", "mail", "mail.example.org", "oncall", "oncall@example.org"),
        ),
        ("tgram://12345678:AAFabcdefghijklmnopqrstuvwxyz012345/1231", ("AAFabcdefghijklmnopqrstuvwxyz012345",), ()),
        (
            "slack://bot@T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general",
            ("T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ"), ("general",),
        ),
        (
            "jsons://hook.example.org/services/mail/TOKEN-1234?X-Key=k3y-of-mine", ("TOKEN-1234", "k3y-of-mine"),
            ("services", "mail", "hook.example.org"),
        ),
        ("nosuch://hunter2/token-1234", ("hunter2", "token-1234"), ()),
    ],
)  # fmt: skip
def test_what_counts_as_a_secret(url: str, secret: tuple[str, ...], shown: tuple[str, ...]) -> None:
    """Passwords, tokens and keys, wherever the service has them; no users, hosts, recipients and words."""
    parts = secret_parts([url])
    said = f"cannot post to {url}: {', '.join((*secret, *shown))}"
    masked = redact(said, parts)
    assert all(each not in masked for each in (url, *secret))
    assert masked.endswith(", ".join(("***",) * len(secret) + shown))


def test_what_cannot_be_sent_is_said() -> None:
    """A target without URLs is a failure; one that nobody knows is an error that names it."""
    none = run(build("notify", {"to": "oncall"}), subject(), Desk([]))
    assert (none.ok, none.text) == (False, "oncall has no URLs")
    with pytest.raises(LookupError, match="nobody"):
        run(build("notify", {"to": "nobody"}), subject(), Desk([]))


def test_a_service_that_hangs_costs_apprises_timeouts_and_no_pool() -> None:
    """A port that takes the message and never answers fails after seconds; no thread pool is left behind that would
    keep the supervisor from ending."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"json://127.0.0.1:{silent.getsockname()[1]}?rto=1"
        before = set(threading.enumerate())
        began = time.monotonic()
        done = run(build("notify", {"to": "oncall"}), subject(), Desk([url]))
        assert not done.ok
        assert 0.9 <= time.monotonic() - began < 15
        assert set(threading.enumerate()) <= before


def test_without_apprise_it_says_how_to_get_it() -> None:
    """In an interpreter that has no apprise the outcome names the extra."""
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "class Without:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        return None if name == 'apprise' else Usual.find_spec(name, path, target)\n"
        "from importlib.machinery import PathFinder as Usual\n"
        "sys.meta_path[-1:] = [Without()]\n"
        "from recovery_kit import Desk, run, subject; from banken_supervisor.actions import build\n"
        "print(run(build('notify', {'to': 'oncall'}), subject(), Desk(['json://localhost'])).text)"
    )
    root = __file__.rpartition("/tests/")[0]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, cwd=root)
    hint = "apprise is not installed: in a checkout of banken, pip install '.[notify]'"
    assert done.stdout.strip() == hint, done.stderr
