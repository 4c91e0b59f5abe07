"""Actions by name, their options, and the words they use: what is allowed, and what arrives."""

from __future__ import annotations

import importlib
import json
import logging
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import msgpack
import pytest
from urllib3 import HTTPResponse

from banken_supervisor.actions import NAMES, Action, ActionTarget, Outcome, build
from banken_supervisor.actions.http_post import retry_after
from banken_supervisor.actions.incident_text import BODY_MAX, body, environment, facts, title
from banken_supervisor.actions.notify import secret_parts
from banken_supervisor.actions.options import parse_url
from banken_supervisor.actions.running_command import HeadAndTail
from banken_supervisor.actions.webhook import key_of, message_id, sign
from banken_supervisor.text.sanitize import line, plain, redact, text
from banken_supervisor.text.secret import Secret
from recovery_kit import Desk, run, subject

GOOD_KEY = "whsec_" + "QUJD" * 10

GOOD: dict[str, dict[str, Any]] = {
    "callback": {"callback": "page"},
    "exec": {"command": ["true"]},
    "signal": {"signal": "SIGTERM"},
    "kill": {"wait": 0, "group": True},
    "restart": {},
    "webhook": {"url": "https://example.org/hook"},
    "notify": {"to": "oncall"},
    "dump": {"seconds": 1},
    "log": {"text": "{name} is {level}"},
}


class Own(Action):
    """A user's own action."""

    name = "own"

    def __init__(self, *, word: str = "none") -> None:
        self.word = word

    def run(self, subject: ActionTarget, world: Any, ended: threading.Event) -> Outcome:
        return Outcome(True, self.word)


class Nameless(Action):
    """Forgot its name."""

    def run(self, subject: ActionTarget, world: Any, ended: threading.Event) -> Outcome:
        return Outcome(True)


class Endless(Own):
    """Claims more time than there is."""

    limit_s = float("inf")


class Raising(Own):
    """Cannot be made."""

    def __init__(self) -> None:
        raise KeyError("oh")


def test_every_action_is_built_by_its_name() -> None:
    """Each name of the issue gives an action of that name, with a limit in seconds."""
    assert set(NAMES) == set(GOOD)
    for name, options in GOOD.items():
        action = build(name, options)
        assert action.name == name
        assert 0 < action.limit_s <= 3700


@pytest.mark.parametrize(
    ("do", "options", "says"),
    [
        ("kil", {}, "no action is called 'kil'; there are: callback, exec"),
        ("kill", {"waits": 3}, "waits: unknown key; did you mean wait? allowed: group, wait"),
        ("kill", {"wait": -1}, "wait: -1 is not allowed; allowed: 0 s to 1h"),
        ("kill", {"wait": 3601}, "wait: 3601 is not allowed; allowed: 0 s to 1h"),
        ("kill", {"wait": float("nan")}, "nan is not allowed"),
        ("kill", {"wait": True}, "must be a number of seconds"),
        ("kill", {"group": "yes"}, "group: must be true or false, not a text"),
        ("signal", {"signal": "SIGFOO"}, "is no signal; allowed: SIGABRT"),
        ("signal", {"signal": 0}, "is no signal"),
        ("signal", {"signal": 4711}, "is no signal"),
        ("exec", {}, "command: is required and missing"),
        ("exec", {"command": "a | b"}, "no shell runs it"),
        ("exec", {"command": []}, "is an empty command"),
        ("exec", {"command": ["x"] * 257}, "has 257 arguments; at most 256 are allowed"),
        ("exec", {"command": ["a\0b"]}, "holds a NUL character"),
        ("exec", {"command": ["", "x"]}, "is an empty command"),
        ("exec", {"command": ["x", 3]}, "its argument 1 must be a text"),
        ("exec", {"command": ["x"], "timeout": 0}, "timeout: 0 is not allowed"),
        ("exec", {"command": ["x"], "output_max": 10**9}, "allowed: 1 kB to 256 KiB"),
        ("callback", {"callback": ""}, "must be a name, and is empty"),
        ("callback", {"callback": 3}, "must be a name, not the number (3)"),
        ("restart", {"x": 1}, "x: unknown key; allowed: none"),
        ("dump", {"seconds": 1e9}, "seconds: 1000000000.0 is not allowed"),
        ("notify", {"to": None}, "to: must be a name, not nothing"),
        ("log", {"text": "{name.__class__}"}, "allowed: {name}"),
        ("webhook", {"url": "ftp://example.org/"}, "allowed is https://HOST/"),
        ("webhook", {"url": "file:///etc/passwd"}, "allowed is https://HOST/"),
        ("webhook", {"url": "https:///x"}, "allowed is https://HOST/"),
        ("webhook", {"url": "https://h:99999/"}, "allowed is https://HOST/"),
        ("webhook", {"url": "https://h:0/"}, "allowed is https://HOST/"),
        ("webhook", {"url": "https://me:pass@h/"}, "sign with a secret"),
        ("webhook", {"url": "https://h/a b\r\nX: y"}, "in ASCII and without blanks"),
        ("webhook", {"url": "https://h/" + "x" * 2048}, "at most 2,048 are allowed"),
        ("webhook", {"url": "https://h/", "secret": "hunter2"}, "secret: is no secret: whsec_ and the base64"),
        ("webhook", {"url": "https://h/", "secret": "whsec_%%%"}, "secret: is no secret: whsec_ and the base64"),
        ("webhook", {"url": "https://h/", "secret": "whsec_c2hvcnQ="}, "the base64 of 24 to 64 bytes is allowed"),
        ("webhook", {"url": "https://h/", "secret_file": "/no/such/file"}, "No such file or directory"),
        ("webhook", {"url": "https://h/", "ca_file": "/no/such/file"}, "cannot be used: No such file"),
        ("webhook", {"url": "https://h/", "secret": GOOD_KEY, "secret_file": "x"}, "secret_file: "),
        ("webhook", {"url": "https://h/", "retries": 99}, "retries: 99 is not allowed; at most 20"),
        ("no_such_module:Own", {}, "cannot be imported: ModuleNotFoundError"),
        ("test_recovery:Missing", {}, "cannot be imported: AttributeError"),
        ("json:JSONDecoder", {}, "is no action: a class derived from"),
        ("banken_supervisor.actions:Action", {}, "is no action: a class derived from"),
        ("test_recovery:Nameless", {}, "its class lacks a name"),
        ("test_recovery:Own", {"words": "x"}, "its options: word"),
        ("test_recovery:Endless", {}, "limit_s=inf is not allowed"),
        ("test_recovery:Raising", {}, "cannot be made: KeyError"),
    ],
)
def test_what_is_not_allowed_is_refused_with_what_is(do: str, options: dict[str, Any], says: str) -> None:
    """Each wrong option raises ValueError, and the message says what is allowed."""
    with pytest.raises(ValueError, match="action") as caught:
        build(do, options)
    assert says in str(caught.value)


@pytest.mark.parametrize("secret", ["hunter2-hunter2", "whsec_hunter2hunter2", "whsec_aHVudGVyMg=="])
def test_a_refused_secret_is_not_repeated(secret: str) -> None:
    """Neither the message nor its cause holds the secret that was wrong."""
    with pytest.raises(ValueError) as caught:
        build("webhook", {"url": "https://h/", "secret": secret})
    fault: BaseException | None = caught.value
    while fault is not None:
        assert secret not in str(fault)
        assert secret.removeprefix("whsec_") not in str(fault)
        fault = fault.__cause__ or fault.__context__


def test_an_action_shows_no_options() -> None:
    """repr() of an action holds neither its URL nor its secret."""
    action = build("webhook", {"url": "https://example.org/token", "secret": GOOD_KEY})
    assert GOOD_KEY in action.hidden
    shown = f"{action!r} {action.recipient!r}"
    assert "token" not in shown
    assert "QUJD" not in shown


def test_a_users_class_is_found_by_the_config_and_by_its_path() -> None:
    """``module:Class``, and a name that the config binds to one, both give the user's action with its options."""
    assert run(build("test_recovery:Own", {"word": "yes"}), subject()).text == "yes"
    assert run(build("mine", {"word": "yes"}, {"mine": "test_recovery:Own"}), subject()).text == "yes"
    assert build("kill", {}, {"kill": "test_recovery:Own"}).name == "kill"  # ours cannot be taken over


def test_a_packages_action_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution with an entry point in ``banken.actions`` offers its action by that name."""
    info = tmp_path / "paging-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: paging\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[banken.actions]\npage = test_recovery:Own\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    assert run(build("page", {"word": "from a package"}), subject()).text == "from a package"
    with pytest.raises(ValueError, match="page"):
        build("pages", {})


def test_the_heavy_libraries_are_imported_only_when_they_are_used() -> None:
    """Building every action imports neither urllib3 nor apprise nor requests."""
    code = (
        "import json, sys; from banken_supervisor.actions import build\n"
        f"for name, options in json.loads({json.dumps(GOOD)!r}).items(): build(name, options)\n"
        "print([m for m in ('urllib3', 'apprise', 'requests', 'ssl') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_the_thin_ones_ask_the_world() -> None:
    """callback, dump, restart and log hand over what they were told."""
    world = Desk()
    assert run(build("callback", {"callback": "bound"}), subject(), world).ok
    assert world.called == ["worker-3"]
    with pytest.raises(LookupError, match="unbound"):
        run(build("callback", {"callback": "unbound"}), subject(), world)
    dumped = run(build("dump", {"seconds": 2}), subject(), world)
    assert (dumped.text, dumped.data["evidence"]["seconds"]) == ("worker-3 in f (job.py:42)", 2.0)
    assert run(build("restart", {}), subject(program="worker-3"), world).ok
    refused = run(build("restart", {}), subject(), world)
    assert (refused.ok, world.restarted) == (False, ["worker-3"])
    assert "not a program" in refused.text
    about = subject(level="critical", told={"status": "line\nbreak \x1b[31m"})
    run(build("log", {"text": "{name}/{cause}/{silence}/{level}/{pid}: {status}"}), about, world)
    run(build("log", {}), subject(recovered=True), world)
    assert world.logged == [
        (logging.CRITICAL, "worker-3/timeout/12.3/critical/-: line\\nbreak \\x1b[31m"),
        (logging.INFO, "worker-3: recovered"),
    ]


def test_an_incident_in_words() -> None:
    """Title and body say who, why, how long, what was seen and where to read more; recovery says so."""
    about = subject(
        level="critical", link="https://banken.example/i/1", told={"status": "step\x1b[2J 4", "reason": "x" * 9999}
    )
    assert title(about) == "[critical] worker-3: timeout, silent for 12.3 s"
    told = body(about, ["MainThread in f (job.py:42)", *["frame " * 50] * 100])
    assert "MainThread in f (job.py:42)" in told
    assert told.endswith("Incident: i-worker-3\nhttps://banken.example/i/1")
    assert "step\\x1b[2J 4" in told
    assert len(told) <= BODY_MAX
    over = subject(recovered=True, level="critical")
    assert title(over) == "worker-3: recovered"
    assert body(over).startswith("Fed again after 12.3 s. The incident was opened at 2026-09-21T")


def test_facts_survive_any_worker() -> None:
    """Lone surrogates, NaN, NUL and huge numbers reach JSON, msgpack and an environment without an error."""
    about = subject(
        told={"status": "\ud800 \0 x", "progress": float("nan"), "silence": float("inf"), "opened": 1e300},
        evidence={"deep": [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]], "n": 2**90, "b": b"\xff", 3: {4}},
    )
    found = facts(about)
    assert msgpack.unpackb(msgpack.packb(found)) == found
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    values = environment(about, {}, ())
    subprocess.run(["true"], env=values, check=True)
    assert values["BANKEN_STATUS"] == "\\ud800 \\0 x"
    assert values["BANKEN_RECOVERED"] == "false"


def test_an_environment_holds_this_incidents_facts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fact that is not known is not inherited from whoever started the supervisor; the address is."""
    monkeypatch.setenv("BANKEN_LINK", "stale")
    monkeypatch.setenv("BANKEN_ADDRESS", "/run/banken")
    found = environment(subject(evidence={"large": "x" * 100_000}), {}, ())
    assert "BANKEN_LINK" not in found
    assert found["BANKEN_ADDRESS"] == "/run/banken"
    assert found["BANKEN_NAME"] == "worker-3"
    assert "BANKEN_EVIDENCE" not in found


def test_data_is_bounded() -> None:
    """However much an action returns, no more than the room is kept, and the cut is marked."""
    found = plain({"a": "x" * 10_000, "b": list(range(10_000)), "c": {str(n): n for n in range(10_000)}}, 5000)
    assert len(json.dumps(found)) < 10_000
    assert found["cut"] is True
    assert "cut" not in plain({"a": 1})
    assert text("abc" * 10, 5) == "abca…"
    assert text("abc" * 10, 5, keep_end=True) == "…cabc"
    assert line("a\u202eb\n") == "a\\u202eb\\n"


def test_what_is_hidden_is_found_everywhere() -> None:
    """A secret is replaced in texts, keys and nested data, the longer of two overlapping ones first."""
    data = {"say token-1234": ["token-1234-more", {"k": "token-1234"}], "n": 3}
    assert redact(data, ("token-1234", "token-1234-more", "")) == {"say ***": ["***", {"k": "***"}], "n": 3}


@pytest.mark.notify
def test_the_parts_of_a_services_url_are_secrets() -> None:
    """User, password, token in the path (also percent-coded) and values of the query all count."""
    found = secret_parts(["slack://botname:s3cret@T1JJ3T3L2/A1BRTD4JD/TIiaj%21kk?key=abcdef&x=1", "://[bad"])
    assert {"botname", "s3cret", "A1BRTD4JD", "TIiaj%21kk", "TIiaj!kk", "abcdef"} <= set(found)
    assert "slack" not in found
    assert "" not in found


@pytest.mark.parametrize("limit", [0, 1, 7, 100])
@pytest.mark.parametrize("size", [0, 1, 7, 99, 100, 101, 5000])
def test_an_outputs_beginning_and_end_are_kept(limit: int, size: int) -> None:
    """At most ``limit`` bytes are kept, from both ends, and the text says how many are missing."""
    data = bytes(65 + n % 26 for n in range(size))
    kept = HeadAndTail(limit)
    for start in range(0, size, 13):
        kept.add(data[start : start + 13])
    assert kept.total == size
    if size <= limit:
        assert kept.text() == data.decode()
    else:
        half = limit // 2
        gap = f"\n[{size - limit} bytes left out]\n"
        assert kept.text() == data[:half].decode() + gap + data[size - (limit - half) :].decode()


def test_an_endless_output_needs_little_memory() -> None:
    """32 MiB of output need less than 1 MiB while they come."""
    kept = HeadAndTail(64 * 1024)
    some = bytes(64 * 1024)
    tracemalloc.start()
    try:
        for _ in range(512):
            kept.add(some)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert kept.total == 32 * 2**20
    assert peak < 2**20


@pytest.mark.parametrize(
    ("url", "shown", "path"),
    [
        ("http://h", "http://h:80", "/"),
        ("https://H.example/a/b?c=d#e", "https://h.example:443", "/a/b?c=d"),
        ("http://[::1]:8080/x", "http://[::1]:8080", "/x"),
    ],
)
def test_a_url_taken_apart(url: str, shown: str, path: str) -> None:
    """Host, port and path as a request needs them; only scheme, host and port may be told."""
    target = parse_url(url)
    assert (target.shown, target.path) == (shown, path)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 0 ", 0.0),
        ("-3", None),
        ("soon", None),
        ("9" * 5000, None),
        ("Thu, 01 Jan 1970 00:17:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 99 Foo 1970 00:00:00 GMT", None),
    ],
)
def test_retry_after(monkeypatch: pytest.MonkeyPatch, value: str | None, seconds: float | None) -> None:
    """Seconds and dates are understood, anything else is no wish."""
    monkeypatch.setattr("time.time", lambda: 1000.0)
    headers = {} if value is None else {"Retry-After": value}
    assert retry_after(HTTPResponse(headers=headers)) == seconds


def test_a_messages_id_tells_runs_apart_and_stays() -> None:
    """The same run has the same id every time; another step, run or the recovery has another one; no dots."""
    ids = [message_id(subject(**more)) for more in ({}, {"step": 1}, {"run": 2}, {"recovered": True})]
    assert len(set(ids)) == 4
    assert message_id(subject()) == ids[0]
    assert "." not in message_id(subject(told={"id": "a.b"}))


def test_a_signature_is_the_one_of_the_specification() -> None:
    """The example that the Standard Webhooks specification gives comes out as it says."""
    key = key_of(Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    signed = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
