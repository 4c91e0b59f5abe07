"""A callback, or an action, that forks and comes back in the child leaves no copy of the supervisor behind."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.process, pytest.mark.every_python]

FORKS = """
import os, sys, threading
from banken.protocol.incidents import Cause, Incident
from banken_supervisor.actions.callbacks import Callbacks
from banken_supervisor.actions import Action, Executor, Outcome, ActionTarget

def fork():
    pid = os.fork()
    if pid == 0:
        if sys.argv[2] == "raises":
            raise SystemExit(3)
        return
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)

class Forks(Action):
    name = "forks"
    def run(self, subject, world, ended):
        fork()
        return Outcome(True)

told = threading.Event()
incident = Incident("i-1", "w", Cause.TIMEOUT, 0.0, 1.0, 1.0)
def report(what):
    print(what.type.value, flush=True)
    told.set()
if sys.argv[1] == "callback":
    callbacks = Callbacks(report)
    callbacks.bind("w", fork)
    callbacks.run(incident, None)
else:
    Executor(None, report).submit([Forks()], ActionTarget(incident))
sys.exit(not told.wait(20))
"""


@pytest.mark.parametrize("what", ["callback", "action"])
@pytest.mark.parametrize("how", ["returns", "raises"])
def test_the_child_ends_where_the_callback_does(what: str, how: str) -> None:
    """The parent waits for it, so that a child that lived on would hang it; and it is told once, by the parent."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS, what, how], capture_output=True, text=True, timeout=30
    )
    said = done.stdout.split()
    assert said == ["0", "callback-done" if what == "callback" else "action-done"], done.stderr
