"""A supervisor reduced to its programs: a keeper, a poll loop and nothing else, told what to do over stdin.

Arguments: "keep", the address, and the specs and groups as JSON. Says every event, and on the line "rows" the rows.
Other lines: start|stop|restart|with-group|hold NAME, stop-all, apply JSON, close.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from typing import Any

from banken_supervisor.engine.ladder import Backoff, Budget
from banken_supervisor.engine.policy import Group, ProgramSpec, Restart, Strategy
from banken_supervisor.programs.program_manager import ProgramManager
from banken_supervisor.programs.reports import WorkTold
from banken_supervisor.runtime.lock import AddressLock
from banken_supervisor.runtime.mailbox import Mailbox


def say(what: Any) -> None:
    print(json.dumps(what), flush=True)


def read_specs(text: str) -> tuple[list[ProgramSpec], list[Group]]:
    said = json.loads(text)
    specs = []
    for each in said["programs"]:
        each["command"] = tuple(each["command"])
        each["environment"] = tuple(map(tuple, each.get("environment", ())))
        each["restart"] = Restart(each.get("restart", "on-failure"))
        for field, kind in (("budget", Budget), ("backoff", Backoff)):
            if field in each:
                each[field] = kind(*each[field])
        specs.append(ProgramSpec(**each))
    groups = [
        Group(each["name"], tuple(each["members"]), strategy=Strategy(each["strategy"]))
        for each in said.get("groups", ())
    ]
    return specs, groups


def keep(address: str, text: str) -> None:
    """Run a keeper until "close" or the end of stdin."""
    specs, groups = read_specs(text)
    began = time.monotonic()
    lock = AddressLock(address)
    mailbox = Mailbox()
    keeper = ProgramManager(address, mailbox.post, lambda name: 7.5)

    def tell(events: list[Any]) -> None:
        for event in events:
            say({"type": event.type.value, "name": event.name, "at": time.monotonic() - began, **event.data})

    events, faults = keeper.open(specs, groups, time.monotonic())
    say({"type": "open", "took": time.monotonic() - began, "faults": faults, "pid": os.getpid()})
    tell(events)
    poll = select.poll()
    for fd in (0, mailbox.fileno(), keeper.fileno()):
        poll.register(fd, select.POLLIN)
    slowest = 0.0
    text = ""
    while True:
        due = keeper.next_due()
        wait = 1.0 if due is None else min(1.0, max(0.0, due - time.monotonic()))
        ready = dict(poll.poll(wait * 1000 + 1))
        woke = time.monotonic()
        for letter in mailbox.take():
            if isinstance(letter, WorkTold):
                say({"type": letter.what, "name": letter.name, "text": letter.text})
            else:
                tell(keeper.carry_out(letter.effects(time.monotonic())))
        tell(keeper.tick(time.monotonic()))
        if 0 in ready:
            some = os.read(0, 65536).decode()
            if not some:
                break
            text += some
            *lines, text = text.split("\n")
            for line in lines:
                word, _, rest = line.partition(" ")
                now = time.monotonic()
                if word == "rows":
                    say({"type": "rows", "rows": keeper.rows(now), "slowest": slowest})
                elif word == "stop-all":
                    tell(keeper.carry_out(keeper.programs.stop([each.name for each in keeper.programs.all()], now)))
                elif word == "apply":
                    tell(keeper.apply(*read_specs(rest), now))
                elif word == "hold":
                    keeper.hold(rest, True)
                elif word == "with-group":
                    tell(keeper.carry_out(keeper.programs.restart(rest, now, with_group=True)))
                elif word == "close":
                    keeper.close()
                    lock.release()
                    say({"type": "closed"})
                    return
                else:
                    tell(keeper.carry_out(getattr(keeper.programs, word)(rest, now)))
        slowest = max(slowest, time.monotonic() - woke)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
