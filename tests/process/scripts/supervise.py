"""A standalone supervisor: ``supervise.py SETUP ADDRESS [ARGUMENT …]``. Each setup is a function below."""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import threading
import time
from typing import Any

from banken.protocol.incidents import Incident
from banken.protocol.messages import Declaration
from banken_supervisor import Supervisor
from banken_supervisor.actions.base import Action, ActionContext, ActionTarget, Outcome
from banken_supervisor.engine.ladder import Budget, Ladder, Step
from banken_supervisor.engine.policy import Policy


def say(what: Any) -> None:
    """One line to whoever started this process."""
    os.write(1, json.dumps(what).encode() + b"\n")


def plain(address: str) -> Supervisor:
    """Nothing of its own."""
    return Supervisor(address)


def limited(address: str, descriptors: str) -> Supervisor:
    """May open no more descriptors than these."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(descriptors), int(descriptors)))
    return Supervisor(address)


def undeclared(address: str) -> Supervisor:
    """Refuses names that nobody declared."""
    return Supervisor(address, defaults=None)


def operators(address: str) -> Supervisor:
    """Declares one watchdog by the operator's word."""
    supervisor = Supervisor(address)
    supervisor.watchdog("operators", timeout=1.0, interval=60)
    return supervisor


def forking(address: str, after: str = "0.1") -> Supervisor:
    """A callback forks a process that outlives the supervisor, after so many seconds, and says its pid."""

    def forks() -> None:
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
            os._exit(0)
        say({"forked": pid})

    supervisor = Supervisor(address)
    supervisor.watchdog("forks", timeout=float(after), interval=60, callback=forks)
    return supervisor


def callbacks(address: str, kinds: str, others: str, interval: str) -> Supervisor:
    """Watchdogs that nobody feeds: bad ones of the given kinds, and others, whose callbacks time themselves.

    Told "report", it says how late each of the others' runs began, in seconds.
    """
    supervisor = Supervisor(address, callback_limit=1.0)
    every = float(interval)
    late: list[float] = []

    def timed(incident: Incident) -> None:
        # Run k falls due k - 1 intervals after the first: the queue's lateness is included.
        late.append(time.time() - incident.opened - (incident.run - 1) * every)

    for kind in filter(None, kinds.split(",")):
        supervisor.watchdog(kind, timeout=0.3, interval=BAD[kind][1], callback=BAD[kind][0])
    for number in range(int(others)):
        supervisor.watchdog(f"other-{number}", timeout=0.2, interval=every, callback=timed)
    _on_line("report", lambda: say(late))
    return supervisor


def named(address: str, limit: str, *kinds: str) -> Supervisor:
    """Binds the callbacks of ``BAD`` to their names, for workers' declarations.

    ``kinds``: "holds" is named here where it is used, for it must be calibrated first.
    """
    supervisor = Supervisor(address, callback_limit=float(limit))
    for name, (function, _) in BAD.items():
        supervisor.callback(name, function)
    supervisor.callback("good", lambda incident: say({"ran": incident.name, "run": incident.run}))
    return supervisor


class Odd(Action):
    """A user's own action, with a name that looks like another metric."""

    name = 'odd"} 1\nbanken_up{é="\\'

    def run(self, subject: ActionTarget, world: ActionContext, ended: threading.Event) -> Outcome:
        """Nothing is done."""
        return Outcome(True)


def measured(address: str, journal: str) -> Supervisor:
    """One of everything that is counted: nobody feeds these, and what is done about it ends in every way."""
    supervisor = Supervisor(address, journal=journal, callback_limit=0.3)
    supervisor.watchdog("stuck", timeout=0.1, interval=600, callback=_stuck)
    supervisor.watchdog("raises", timeout=0.1, interval=600, callback=_raises)
    soon = Declaration(0.1, 600.0, 0.1)
    failing = Step("exec", options=(("command", ["false"]),))
    twice = Step("log", repeat=0.05, budget=Budget(1, 600.0))
    for name, ladder in {
        "does": Ladder((Step("log"), failing, Step("__main__:Odd"))),
        "observed": Ladder((Step("kill"),), observe=True),
        "given-up": Ladder((twice,)),
    }.items():
        supervisor.policy(name, Policy(soon, ladder))
    return supervisor


# -- callbacks that nobody should write --------------------------------------------------------------


def _stuck() -> None:
    time.sleep(60)


def _raises() -> None:
    raise ValueError("on purpose")


def _exits() -> None:
    sys.exit(3)


def _interrupts() -> None:
    raise KeyboardInterrupt


def _recurses() -> None:
    _recurses()


class _Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def _unprintable() -> None:
    raise _Unprintable


def _surrogate() -> None:
    raise ValueError("a file's name: \udcff")  # as os.listdir gives a name that is not UTF-8


def _verbose() -> None:
    raise ValueError("x" * 5_000_000)


_running = 0


def _overlapping() -> None:
    global _running
    _running += 1
    say({"running": _running})
    time.sleep(0.3)
    _running -= 1


def _holds_the_interpreter() -> None:
    """A regular expression that backtracks for about two seconds, without letting any other thread run."""
    began = time.perf_counter()
    re.fullmatch("(a+)+b", "a" * _patience)
    say({"held": time.perf_counter() - began})


def _calibrated() -> int:
    """How long a text keeps the expression busy for about two seconds; one more doubles it.

    By its own processor time: what others take of it on a busy machine would make the text too short.
    """
    length, seconds = 14, 0.0
    while seconds < 0.02:
        length += 1
        began = time.thread_time()
        re.fullmatch("(a+)+b", "a" * length)
        seconds = time.thread_time() - began
    while seconds < 1.4:
        seconds *= 2
        length += 1
    return length


BAD = {
    "stuck": (_stuck, 0.2),
    "raises": (_raises, 0.05),
    "exits": (_exits, 0.05),
    "interrupts": (_interrupts, 0.05),
    "recurses": (_recurses, 60),
    "unprintable": (_unprintable, 60),
    "surrogate": (_surrogate, 60),
    "verbose": (_verbose, 60),
    "overlapping": (_overlapping, 0.05),
    "holds": (_holds_the_interpreter, 60),
}
"""name: (function, interval)"""


def _on_line(word: str, answer: Any) -> None:
    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == word:
                answer()

    threading.Thread(target=listen, daemon=True).start()


if __name__ == "__main__":
    _patience = _calibrated() if "holds" in ",".join(sys.argv) else 0
    globals()[sys.argv[1]](*sys.argv[2:]).run()
