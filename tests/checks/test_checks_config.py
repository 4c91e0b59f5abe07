"""What ``check = …`` takes, what it refuses, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from banken.errors import Refused
from banken_supervisor.config import ConfigFaults, load
from banken_supervisor.config.checks import CHECKS_MAX, parse_checks

TCP = {"tcp": "127.0.0.1:6379"}


def test_one_table_is_one_check_and_a_list_is_several() -> None:
    """Both have every, limit and fails, with defaults."""
    (one,) = parse_checks(TCP)
    assert (one.every, one.limit, one.fails, one.label) == (10.0, 3.0, 3, "tcp 127.0.0.1:6379")
    two = parse_checks([{**TCP, "every": "1s"}, {"exec": "pg_isready -q", "fails": 1}])
    assert [(each.kind, each.every, each.limit, each.fails) for each in two] == [
        ("tcp", 1.0, 1.0, 3), ("exec", 10.0, 3.0, 1),
    ]  # fmt: skip
    assert parse_checks([]) == ()


def test_every_and_limit_begin_at_100_ms() -> None:
    (one,) = parse_checks({**TCP, "every": "100ms", "limit": "100ms"})
    assert (one.every, one.limit) == (0.1, 0.1)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (5, "check must be a table such as .* not the number"),
        ("tcp", "check must be a table such as .* not a text"),
        ({}, "check: has no kind of check; allowed: .*exec.*tcp"),
        ({"htp": "x"}, 'check: "htp" is no kind of check; did you mean .*allowed: '),
        ([TCP, 5], r"check\[1\]: must be a table"),
        ({**TCP, "unix": "/run/x"}, "tcp and unix: each is a check of its own"),
        ({**TCP, "limt": 3}, "limt: unknown key; did you mean limit[?] allowed: .*every.*tcp"),
        ({**TCP, "every": "10ms"}, "every: .* allowed: 0.1 s to 1d"),
        ({**TCP, "every": "0s"}, "every: .* allowed: 0.1 s to 1d"),
        ({**TCP, "every": -1}, "every: .* allowed: 0.1 s to 1d"),
        ({**TCP, "every": "1s", "limit": "2s"}, "limit .2 s. must not exceed every .1 s."),
        ({**TCP, "every": "fast"}, "every: .*no duration"),
        ({**TCP, "fails": 0}, "fails: 0 is not allowed; at least 1"),
        ({"tcp": "6379"}, 'tcp: "6379" is no address; allowed is HOST:PORT'),
        ({"tcp": "h:0"}, "is no address"),
        ({"tcp": "h:99999"}, "is no address"),
        ({"tcp": "::1:80"}, "is no address"),
        ({"tcp": "bad host:80"}, "is no address"),
        ({**TCP, "expect": ""}, "expect: "),
        ({"exec": []}, "exec: is an empty command"),
        ({"exec": "a | b"}, "exec: no shell runs it"),
        ({"exec": ["a"], "user": "no-such-user"}, "user: .* is no user of this host"),
        ([TCP] * (CHECKS_MAX + 1), "at most 100"),
    ],
)
def test_what_is_wrong_is_said(raw: object, words: str) -> None:
    with pytest.raises(Refused, match=words):
        parse_checks(raw)


def test_no_variable_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither repr, nor what is shown of a check, nor an error holds a value that came from the environment."""
    monkeypatch.setenv("CHECK_TOKEN", "t0psecret")
    (one,) = parse_checks({"exec": ["env"], "env": {"TOKEN": "${CHECK_TOKEN}"}})
    assert one.hidden == ("t0psecret",)
    assert "t0psecret" not in repr(one) + str(one.secret_free()) + one.label


CHECKED = """
[[program]]
name = "web-{i}"
numprocs = 2
command = ["sleep", "infinity"]
check = [{ tcp = "127.0.0.1:808{i}", every = "1s" }, { exec = ["true"] }]
grace = "7s"
ladder = [{ do = "restart" }]

[[watchdog]]
name = "redis"
check = { tcp = "127.0.0.1:6379", fails = 2 }
depends_on = ["web-0/check"]

[[watchdog]]
name = "*"
timeout = "5s"
"""


def test_each_check_is_placed_and_has_a_policy_before_all_patterns(tmp_path: Path) -> None:
    """A name below its owner's, the owner's ladder, a deadline of its own; and a program that runs them all."""
    file = tmp_path / "banken.toml"
    file.write_text(CHECKED)
    config = load(file)
    assert [(each.name, each.of, each.label) for each in config.checks] == [
        ("redis/check", "redis", "tcp 127.0.0.1:6379"),
        ("web-0/check", "web-0", "tcp 127.0.0.1:8080"), ("web-0/check-2", "web-0", "exec true"),
        ("web-1/check", "web-1", "tcp 127.0.0.1:8081"), ("web-1/check-2", "web-1", "exec true"),
    ]  # fmt: skip
    names = [name for name, _ in config.policies]
    assert names.index("web-1/check-2") < names.index("*")
    policy = dict(config.policies)["web-1/check"]
    assert (policy.declaration.timeout, policy.declaration.grace, policy.expect) == (4.0, 7.0, False)
    assert (policy.ladder.steps[0].do, policy.depends_on) == ("restart", ("web-1",))
    assert dict(config.policies)["redis/check"].depends_on == ("redis", "web-0/check")
    ((program, _),) = config.own_programs
    assert program.name == "banken-checks"
    file.write_text("[supervisor]\n")
    assert load(file).own_programs == ()


PROGRAM = '[[program]]\nname = "p"\ncommand = "true"\n'


@pytest.mark.parametrize(
    ("check", "kind"),
    [
        ('{ memory = "< 2GiB" }', "uses"),
        ('{ memory = "< 2GiB", cpu = "< 95 % for 5m" }', "uses"),
        ('{ disk = "/ < 90 %", memory = "< 90 %", load = "< 8" }', "host"),
        ('{ load = "< 8", cpu = "< 90 %" }', "host"),
        ('{ host = { memory = "< 90 %" } }', "host"),
    ],
)
def test_another_key_says_whose_the_memory_is(tmp_path: Path, check: str, kind: str) -> None:
    file = tmp_path / "banken.toml"
    file.write_text(f"{PROGRAM}check = {check}")
    assert load(file).checks[0].label.startswith(kind)


def test_memory_in_percent_in_a_watchdog_is_the_machines() -> None:
    assert parse_checks({"memory": "< 90 %"})[0].kind == "host"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[watchdog]]\nname = "r*"\ncheck = { exec = "true" }', 'check: needs one name: .*"r[*]"'),
        (
            '[[watchdog]]\nname = "r"\ncheck = { exec = "true" }\n[[watchdog]]\nname = "r/check"\ntimeout = 1',
            'check: its watchdog would be called "r/check", which is declared already',
        ),
        (
            '[[watchdog]]\nname = "r"\ncheck = { exec = "true" }\n[[watchdog]]\nname = "banken-checks"',
            "is run by a program that is called banken-checks",
        ),
        (
            '[[program]]\nname = "w{i}"\nnumprocs = 8\ncommand = "true"\ncheck = { tcp = "127.0.0.1:6{i}000" }',
            r"check: with 6 in place of \{i\}: .*no address",
        ),
        (f'[[watchdog]]\nname = "{"r" * 125}"\ncheck = {{ exec = "true" }}', "name: is too long for its check"),
        (
            '[[watchdog]]\nname = "r"\ncheck = [{ exec = "true", fail = 2 }]',
            "check.*fail.*unknown key; did you mean",
        ),
        (
            f'{PROGRAM}check = {{ memory = "< 5 %" }}',
            '4: program.0..check: memory = "< 5 %": whose. write host = { memory',
        ),
        (f'{PROGRAM}check = [{{ exec = "true" }}, {{ memory = "< 5 %", cpu = "< 9 %" }}]', "whose"),
        (f'{PROGRAM}ready = {{ memory = "< 5 %", every = "1s" }}', "program.0..ready: memory .*whose"),
        (f'{PROGRAM}check = {{ cpu = "< 5 %" }}', "whose"),
        (f"{PROGRAM}ready = {{ notify = false }}", "ready.notify: false is not allowed; allowed: true"),
        (
            '[[watchdog]]\nname = "c"\ncheck = { exec = "true" }\n[[group]]\nname = "g"\nmembers = ["c/*"]',
            'members.0.: "c/[*]" matches nothing in this file; a pattern takes no checks: write "c/check"',
        ),
    ],
)
def test_what_cannot_be_placed_is_said_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "banken.toml"
    file.write_text(text)
    with pytest.raises(ConfigFaults, match=words):
        load(file)
