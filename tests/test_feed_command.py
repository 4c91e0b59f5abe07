"""``banken feed`` and ``banken fail`` over tcp: to several supervisors, and with a key that may only feed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import banken
from banken_supervisor.keys import access
from hosts_kit import Host, free_ports
from recovery_kit import until


class Several:
    """Two supervisors with the same keys, and an address between theirs where nobody is."""

    def __init__(self, directory: Path) -> None:
        for each in ("one", "two"):
            (directory / each).mkdir()
        self.one = Host(directory / "one")
        self.two = Host(directory / "two", self.one.keys)
        self.nobody = f"tcp://127.0.0.1:{free_ports()}"

    @property
    def all(self) -> str:
        return f"{self.nobody},{self.one.address},{self.two.address}"

    def key(self, name: str, control: access.Control, *feed: str) -> Path:
        """In force at both."""
        path = self.one.keys.new(name, address=self.all)
        self.one.keys.allow(name, feed or (f"{name}-*",), control)
        for each in (self.one, self.two):
            each.reload()
        return path


@pytest.fixture(scope="module")
def several() -> Iterator[Several]:
    with tempfile.TemporaryDirectory(prefix="bk-") as directory:
        made = Several(Path(directory))
        with made.one.supervisor, made.two.supervisor:
            yield made


def say(address: str, key: Path, *words: str) -> Result:
    """The command."""
    return CliRunner().invoke(banken, words, env={"BANKEN_ADDRESS": address, "BANKEN_KEY": str(key)})


@pytest.mark.parametrize("control", [access.Control.NONE, access.Control.READ, access.Control.FULL])
def test_all_supervisors_hear_it_and_one_is_enough(several: Several, control: access.Control) -> None:
    """Although the first of them is down, of which a warning tells."""
    key, name = several.key(f"cron-{control}", control), f"cron-{control}-1"
    done = say(several.all, key, "feed", name, "--timeout", "1h")
    assert done.exit_code == 0, done.output
    confirmed = f"{name} fed: alive" if control == "full" else "sent; not confirmed: the key may not ask"
    assert confirmed in done.stdout
    assert done.stderr.count("warning: ") == 1
    assert several.nobody in done.stderr
    for each in (several.one, several.two):
        until(lambda each=each: (each.row(name) or {}).get("state") == "alive", "each has heard it")
    done = say(several.all, key, "fail", name, "no disk", "-q")
    assert (done.exit_code, done.output) == (0, "")
    for each in (several.one, several.two):
        until(lambda each=each: each.row(name)["state"] == "expired", "each has heard it")


def test_nobody_takes_it(several: Several) -> None:
    """All are named."""
    other = f"tcp://127.0.0.1:{free_ports()}"
    key = several.one.keys.new("alone", address=f"{several.nobody},{other}")
    done = say(f"{several.nobody},{other}", key, "feed", "alone")
    assert done.exit_code == exit_codes.NO_SUPERVISOR
    assert several.nobody in done.stderr
    assert other in done.stderr


def test_a_name_that_the_key_may_not_feed_is_refused(several: Several) -> None:
    """Also where it may ask nothing else; and where one takes it, the other is told of."""
    key = several.key("own", access.Control.NONE, "own")
    done = say(several.one.address, key, "feed", "other")
    assert done.exit_code == exit_codes.REFUSED
    assert f"{several.one.address} lets this key not feed 'other'" in done.stderr
    several.one.keys.allow("own", ["other"], None)
    several.one.reload()
    done = say(f"{several.one.address},{several.two.address}", key, "feed", "other")
    assert done.exit_code == 0
    assert f"warning: {several.two.address} lets this key not feed 'other'" in done.stderr
