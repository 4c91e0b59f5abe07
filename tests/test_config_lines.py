"""The line of every key of a TOML text is found."""

from __future__ import annotations

import random
import time
import tomllib
from typing import Any

import pytest

from banken_supervisor.config.faults import KeyPath
from banken_supervisor.config.lines import Lines

TEXT = '''\
# a comment with [brackets] = and "quotes"
top = 1
a.b.c = 2                      # dotted
"quoted key" . 'and.dot' = 3

[supervisor]
text = """
[not.a.table]
key = 1
\\""" still """
other = \'\'\'
# no comment\'\'\'
after = 'x'
[[watchdog]]
name = "first" # [[watchdog]]
ladder = [
  { do = "log", text = "}],#" },

  # between
  { do = "kill", deep.er = [ [1,
     2], 3 ] }
]
[watchdog.auto]
least = 1
[[watchdog.maintenance]]
cron = "x"
[[watchdog.maintenance]]
cron = "y"

[[watchdog]]
name = "second"
maintenance = [{cron="z"}, {cron="w"}]
empty = []
none = {}
quotes = """"a""""
five = """a"""""
date = 1979-05-27T07:32:00Z
last = """\\
   end"""
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("a",), 3),
        (("a", "b"), 3),
        (("a", "b", "c"), 3),
        (("quoted key", "and.dot"), 4),
        (("supervisor",), 6),
        (("supervisor", "text"), 7),
        (("supervisor", "other"), 11),
        (("supervisor", "after"), 13),
        (("watchdog",), 14),
        (("watchdog", 0), 14),
        (("watchdog", 0, "name"), 15),
        (("watchdog", 0, "ladder"), 16),
        (("watchdog", 0, "ladder", 0), 17),
        (("watchdog", 0, "ladder", 0, "text"), 17),
        (("watchdog", 0, "ladder", 1), 20),
        (("watchdog", 0, "ladder", 1, "deep", "er"), 20),
        (("watchdog", 0, "ladder", 1, "deep", "er", 0, 1), 21),
        (("watchdog", 0, "auto"), 23),
        (("watchdog", 0, "auto", "least"), 24),
        (("watchdog", 0, "maintenance", 0, "cron"), 26),
        (("watchdog", 0, "maintenance", 1), 27),
        (("watchdog", 0, "maintenance", 1, "cron"), 28),
        (("watchdog", 1), 30),
        (("watchdog", 1, "maintenance", 1, "cron"), 32),
        (("watchdog", 1, "quotes"), 35),
        (("watchdog", 1, "five"), 36),
        (("watchdog", 1, "date"), 37),
        (("watchdog", 1, "last"), 38),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_key_is_found(path: KeyPath, line: int, end: str) -> None:
    """In tables, arrays of tables, inline tables, dotted and quoted keys, behind texts over several lines."""
    text = TEXT.replace("\n", end)
    tomllib.loads(text)
    assert Lines(text).of(path) == line


def test_what_is_not_there_lies_where_its_table_is() -> None:
    """A key that is missing is told at the nearest place above it; of nothing, nothing is known."""
    lines = Lines(TEXT)
    assert lines.of(("watchdog", 1, "timeout", "x")) == 30
    assert lines.of(("watchdog", 0, "ladder", 1, "signal")) == 20
    assert lines.of(("nothing", 0)) is None
    assert lines.of(()) is None


def test_inline_tables_over_several_lines() -> None:
    """TOML 1.1 allows them; Python 3.11's tomllib does not yet."""
    lines = Lines("x = {\n  a = 1, # one\n  b = { c = 2,\n  },\n}\ny = 1\n")
    assert [lines.of(path) for path in (("x", "a"), ("x", "b", "c"), ("y",))] == [2, 3, 6]


def _paths(value: Any, path: KeyPath = ()) -> list[KeyPath]:
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(found for key, each in inner for found in _paths(each, (*path, key)))]


def _write(rng: random.Random) -> str:
    """A random TOML text."""
    parts = ["x", '"a.b"', "'#'", '"\\u0041"', "-1"]
    values = [
        "1",
        '"]}#"',
        "'''\n]\n'''",
        '"""\n"" \\" }"""',
        "[]",
        "{}",
        "inf",
        "[1,\n\n{p=[2]}, # c ]\n]",
        "{q={r=1}, s='}'}",
    ]
    text, number = "", 0
    for _ in range(rng.randrange(1, 12)):
        number += 1
        header = rng.choice(["", f"[t{number}.{rng.choice(parts)}]", "[[rows]]", "[[rows]]\n[[rows.inner]]"])
        text += header + rng.choice(["\n", " # ]]\n", "\n\n"]) if header or text else ""
        for _ in range(rng.randrange(4)):
            number += 1
            key = ".".join([f"k{number}", *rng.choices(parts, k=rng.randrange(3))])
            text += f"{key} = {rng.choice(values)}{rng.choice(['', '  # = [', ' '])}\n"
    return text


@pytest.mark.parametrize("seed", range(200))
def test_of_random_texts_every_key_is_found(seed: int) -> None:
    """Each path that tomllib gives has a line; marked keys lie on the line where their mark stands."""
    text = _write(random.Random(seed))
    lines = Lines(text)
    for path in _paths(tomllib.loads(text)):
        if not path:
            continue
        assert path in lines._at, (text, path)
        mark = path[-1]
        if isinstance(mark, str) and mark[0] == "k":
            assert text.split("\n")[lines._at[path] - 1].startswith(mark)


def test_a_file_at_the_limits_is_bounded() -> None:
    """A megabyte of elements keeps no record of each."""
    began = time.process_time()
    lines = Lines("x = [" + "1," * 300_000 + "]")
    assert lines.of(("x", 250_000)) == 1
    assert len(lines._at) < 20_000
    assert time.process_time() - began < 30
