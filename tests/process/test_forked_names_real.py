"""What a forked child says at its end is about what it fed or declared itself, not about its parent's names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from process.kit import Home, until

pytestmark = [pytest.mark.process, pytest.mark.every_python]

PARENT = """
import os, multiprocessing, sys
from banken import client
from banken.control import Control

def takes(watchdog):
    with Control(os.environ["BANKEN_ADDRESS"], 10.0) as control:
        while True:
            watchdog.feed()
            (row,) = control.request("status", name="trainer")["rows"]
            if row["pid"] == os.getpid():
                return

def child():
    {work}

trainer = client.watchdog("trainer", timeout=60)
while not client.stats()["sent"]:  # on a busy machine one wait for the connection is not always enough
    trainer.feed()
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join()
trainer.feed()
print("joined", flush=True)
sys.stdin.read()
"""


def _run(home: Home, work: str) -> subprocess.Popen[str]:
    """The parent, once its child has ended."""
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PARENT.format(work=work)],
        env={"BANKEN_ADDRESS": home.address, "PATH": "/usr/bin:/bin"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert parent.stdout is not None
    assert parent.stdout.readline() == "joined\n"
    return parent


@pytest.mark.parametrize(
    "end", ["", "; os._exit(1)", "; os.kill(os.getpid(), 9)", "; raise ValueError('a bad sample')"]
)
def test_a_child_that_feeds_its_parents_name_has_it_for_its_life_only(home: Home, end: str) -> None:
    """However it ends: its parent, which feeds on, has it again, and nobody is convicted."""
    home.supervisor()
    events = home.events()
    parent = _run(home, f"takes(trainer){end}")
    try:
        assert events.until(10, "handed-back", "trainer")["pid"] == parent.pid
        until(lambda: home.row("trainer").get("pid") == parent.pid, "it is the parent's")
        row = home.row("trainer")
        assert (row["state"], row["incidents"]) == ("alive", 0)
    finally:
        parent.kill()
        parent.communicate()


@pytest.mark.parametrize(
    "work",
    [
        "with client.section('load', timeout=30): pass",
        "client.feed('loader')",
        "client.feed('loader'); raise ValueError('a bad sample')",
    ],
)
def test_a_forked_child_neither_releases_nor_fails_its_parents_name(home: Home, work: str) -> None:
    """It ends in order, or by an exception, after a name of its own: its parent is watched on."""
    home.supervisor()
    parent = _run(home, work)
    try:
        until(lambda: "trainer" in home.rows("trainer"), "the parent is watched")
        row = home.row("trainer")
        assert (row["state"], row["pid"]) == ("alive", parent.pid)
        assert home.refused().get("contest", 0) == 0
    finally:
        parent.kill()
        parent.communicate()
