"""The process that runs the checks: its loop, its thread that asks the supervisor, and its feeds.

It feeds from the loop that runs the checks: if that hangs, so does the feeding, and it is started again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from functools import partial
from time import monotonic, sleep
from typing import Any

from banken.client.zmq_client import Client
from banken.control import Control
from banken.errors import Refused, RequestFailed, Unreachable
from banken.process_identity import own_identity
from banken.protocol.codec import encode
from banken.protocol.limits import RESULT_MAX
from banken.protocol.messages import Kind, Message
from banken_supervisor.actions.options import Source
from banken_supervisor.check_runner.runner import Runner, Wanted
from banken_supervisor.checks.outcome import Outcome, outcome
from banken_supervisor.checks.subject import Subject
from banken_supervisor.config.checks import Check, parse_checks

log = logging.getLogger("banken.checks")

FEED_S = 0.1
"""Seconds between two feeds."""

ASK_S = 0.2
"""Seconds between two questions to the supervisor: what is to be run, which processes there are."""

ALONE_S = 60.0
"""Seconds without an answer after which it ends, if its supervisor is gone, and did not end it."""

ANSWER_S = 5.0

BROKEN_S = 10.0
"""Seconds between two results of a check that cannot be made."""


class Broken:
    """A check that cannot be made here: a variable of the environment is gone, say."""

    every, limit = BROKEN_S, BROKEN_S

    def __init__(self, why: str) -> None:
        self._why = why

    async def run(self, subject: Subject) -> Outcome:
        """Say why."""
        return outcome(False, f"the check cannot be made: {self._why}")


def serve(address: str | None) -> None:
    """Run the checks of the supervisor at ``address``, until this process is ended."""
    asyncio.run(_serve(address))


async def _serve(address: str | None) -> None:
    client, name = Client(address, release_at_exit=False), os.environ.get("BANKEN_NAME", "banken-checks")
    runner = Runner(partial(_tell, client), delayed=partial(_tell_delayed, client))
    loop = asyncio.get_running_loop()
    work = Work(address, runner, loop)
    thread = threading.Thread(target=work.ask_for_ever, name="banken-asks", daemon=True)
    thread.start()
    running = asyncio.create_task(runner.serve())
    while thread.is_alive() and not running.done():
        client.feed(name)
        await asyncio.sleep(FEED_S)
    running.cancel()
    if running.done() and not running.cancelled():
        running.result()  # what ended it


def _tell(client: Client, name: str, found: Outcome, took: float, until_next: float) -> None:
    text = found.text[:RESULT_MAX]
    _send(client, name, (found.passed, text, took, until_next, found.certain, found.process, found.provisional))


def _tell_delayed(client: Client, name: str, why: str) -> None:
    _send(client, name, (None, why[:RESULT_MAX], 0.0, 0.0, False, None, False))


def _send(client: Client, name: str, args: tuple[Any, ...]) -> None:
    # No method of the client for users: a frame that is made elsewhere.
    client._deliver(encode(Message(Kind.RESULT, name, own_identity(), 0.0, None, args)))


class Work:
    """Asks the supervisor on a thread of its own, and hands what is new to the loop."""

    def __init__(self, address: str | None, runner: Runner, loop: asyncio.AbstractEventLoop) -> None:
        self._address = address
        self._runner = runner
        self._loop = loop
        self._version: str | None = None
        self._supervisor = 0
        """pid of the one that has answered"""
        self._made: dict[tuple[str, str], Check | Broken] = {}
        """by directory and table"""

    def ask_for_ever(self) -> None:
        """Returns when the supervisor is gone, and has not answered for ``ALONE_S``. One that is stopped is there:
        as long as it is, this is its child."""
        heard = monotonic()
        with Control(self._address, timeout=ANSWER_S) as control:
            while monotonic() - heard < ALONE_S or os.getppid() == self._supervisor:
                try:
                    self._ask(control)
                except (Unreachable, RequestFailed) as fault:
                    log.warning("the supervisor does not say which checks there are: %s", fault)
                else:
                    heard = monotonic()
                sleep(ASK_S)
        log.error("no answer of the supervisor for %g s: the process that runs checks ends", ALONE_S)

    def _ask(self, control: Control) -> None:
        body = control.request("check_work", version=self._version)
        self._supervisor = body["pid"]
        if body["checks"] is None:
            processes = {owner: tuple(found) for owner, found in body["processes"].items()}
            self._loop.call_soon_threadsafe(self._apply, processes, body["asked"], body["over"])
            return
        found, page = list(body["checks"]), body
        while page["next"] is not None:
            page = control.request("check_work", version=None, offset=page["next"])
            if page["version"] != body["version"]:
                return  # the config has changed between two pages: all is asked for again
            found += page["checks"]
        wanted = [self._wanted(each, body["directory"]) for each in found]
        self._made = {(body["directory"], str(each.key)): each.check for each in wanted}  # type: ignore[misc]
        self._version = body["version"]
        self._loop.call_soon_threadsafe(self._set, wanted, body["at_once"])

    def _set(self, wanted: list[Wanted], at_once: int) -> None:
        self._runner.at_once = at_once
        self._runner.set(wanted)

    def _apply(self, processes: dict[str, tuple[int, int]], asked: list[str], over: list[str]) -> None:
        self._runner.set_processes(processes)
        self._runner.set_over(frozenset(over))
        for name in asked:
            self._runner.run_now(name)

    def _wanted(self, said: dict[str, Any], directory: str) -> Wanted:
        text = json.dumps([said["table"], said["program"]], sort_keys=True)
        check = self._made.get((directory, text))
        if check is None:
            try:
                # Its files were read with the config, and are read again by each run, off this thread: a disk that
                # does not answer would keep all other checks from it.
                (check,) = parse_checks([said["table"]], Source(directory, read_files=False))
            except Refused as fault:
                check = Broken(str(fault))
        return Wanted(said["name"], said["of"], said["program"], check, text)
