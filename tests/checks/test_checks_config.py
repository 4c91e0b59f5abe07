"""What ``check = …`` takes, what it refuses, and in which words."""

from __future__ import annotations

import pytest

from banken.errors import Refused
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
