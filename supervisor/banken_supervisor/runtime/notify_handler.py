"""What comes in by the sockets of sd_notify, told to the engine and to the programs.

Who may say what: READY, STATUS and BARRIER count whoever sends them, for the socket is the name. The rest is for
the main process, unless ``notify_access`` is "all": else a child that inherited NOTIFY_SOCKET would feed for a
parent that hangs.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

from banken.protocol.limits import REASON_MAX
from banken.protocol.messages import Declaration, Kind, Message
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.policy import NEVER
from banken_supervisor.engine.principal import Refusal
from banken_supervisor.programs.program_watchdogs import ProgramWatchdogs
from banken_supervisor.programs.run_records import file_name
from banken_supervisor.sources.notify_datagram import Datagram
from banken_supervisor.sources.notify_fields import Said
from banken_supervisor.sources.notify_sockets import NotifySockets

ANYBODYS = frozenset({"ready", "status", "barrier"})
"""What counts whoever says it."""


@dataclass(slots=True)
class _Speaker:
    """What is remembered of one name."""

    status: str | None = None
    told: set[str] = field(default_factory=set)
    """kinds of refusals that were told; each is, once"""


@dataclass(eq=False)
class NotifyHandler:
    """Owned by the loop's thread."""

    _driver: Driver
    _programs: ProgramWatchdogs
    _sockets: NotifySockets
    _post: Callable[[Callable[[], None]], object]
    """makes the loop call a function"""
    refused: Counter[str] = field(default_factory=Counter)
    """datagrams and fields that did not count, by reason"""
    access: dict[str, str] = field(default_factory=dict)
    """``notify_access`` of the names that are no programs"""
    _speakers: dict[str, _Speaker] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sockets.handle = self.handle
        self._programs.news = self._sockets.look_again
        self._programs.manager.notify_socket = self.serve

    def serve(self, name: str, address: str, uid: int) -> str | None:
        """Bind the socket of a program, from any thread; None: that is not possible. ``address``: its directory.
        ``uid``: its user."""
        path = os.path.join(address, "notify", file_name(name))
        try:
            return self._sockets.open(name, path, None if uid == os.geteuid() else uid)
        except OSError as fault:
            text = f"it cannot speak by sd_notify: {fault}"
            self._post(lambda: self._refuse(name, "notify-socket", text))
            return None

    def follow(self, outsiders: Mapping[str, str]) -> Callable[[], None]:
        """These watchdogs, which are no programs, speak by sd_notify from now on, with this ``notify_access``.
        Returns what is to be called, from any thread, to bind and unbind their sockets."""
        self.access = dict(outsiders)
        wanted = {*outsiders, *self._programs.names()}
        address, ours = self._programs.directory, os.geteuid()

        def bind() -> None:
            for name in self._sockets.names():
                if name not in wanted:
                    self._sockets.close_one(name)
            for name in outsiders:
                self.serve(name, address, ours)

        return bind

    def handle(self, datagram: Datagram) -> bool:
        """Take one; False: not yet, for its program's process is not known by now."""
        name, said = datagram.name, datagram.said
        if self._programs.is_spawning(name):
            return False
        self._driver.engine.decoded_bytes += max(1, datagram.size)
        if isinstance(said, str):
            self._refuse(name, "notify", f"a datagram of pid {datagram.pid} is dropped: {said}")
            return True
        for text in said.ignored:
            self._refuse(name, "notify", f"pid {datagram.pid}: {text}, and is ignored")
        if said.not_kept:
            text = f"{' and '.join(said.not_kept)} of pid {datagram.pid} is not kept: descriptors are closed"
            self._refuse(name, "notify-not-kept", text)
        if not self._may_say_all(datagram):
            said = self._only_anybodys(datagram, said)
        self._take(name, said, datagram)
        return True

    def _take(self, name: str, said: Said, datagram: Datagram) -> None:
        engine, now, out = self._driver.engine, self._driver.now, self._driver.out
        speaker = self._speakers.setdefault(name, _Speaker())
        if said.status is not None:
            speaker.status = said.status
            engine.notified.status(name, said.status)
        if said.extend is not None:
            engine.notified.extend(name, said.extend, now, out)
        at = self._driver.time_of(datagram.at)
        if said.ready:
            engine.notified.ready(name, at, out)
        if said.triggers:
            why = speaker.status or "it said WATCHDOG=trigger"
            engine.tell(Message(Kind.FAIL, name, None, 0.0, None, (why[:REASON_MAX],)), now, out)
        elif said.progress is not None:
            engine.tell(Message(Kind.NOTE, name, None, 0.0, None, (said.progress, None)), at, out)
        elif said.feeds or said.timeout is not None:
            engine.tell(Message(Kind.FEED, name, None, 0.0, self._declaration(name, said.timeout)), at, out)

    def _declaration(self, name: str, timeout: float | None) -> Declaration | None:
        record = self._driver.engine.get(name)
        if timeout is None or record is None:
            return None
        return record.declaration._replace(timeout=NEVER if timeout == inf else timeout)

    # -- who may say what -----------------------------------------------------------------------------

    def _may_say_all(self, datagram: Datagram) -> bool:
        name = datagram.name
        if self._programs.notify_access(name) == "all" or self.access.get(name) == "all":
            return True
        main = self._main(name)
        return main is None or datagram.pid == main

    def _main(self, name: str) -> int | None:
        """The pid of the main process; None: there is none that is known."""
        process = self._programs.process(name)
        return 0 if process is None and name in self._programs else None if process is None else process.pid

    def _only_anybodys(self, datagram: Datagram, said: Said) -> Said:
        kept = Said(ready=said.ready, status=said.status, barrier=said.barrier)
        if kept._replace(ignored=said.ignored, not_kept=said.not_kept) != said:
            name, main = datagram.name, self._main(datagram.name)
            whose = f"pid {main} is" if main else "no process is"
            text = (
                f"pid {datagram.pid} feeds {name!r}, whose main process {whose}: that does not count; "
                'notify_access = "all" lets every process of it feed'
            )
            self._refuse(name, "notify-access", text)
        return kept

    def _refuse(self, name: str, reason: str, text: str) -> None:
        """Count it, and tell it once a name."""
        engine, driver = self._driver.engine, self._driver
        self.refused[reason] += 1
        told = self._speakers.setdefault(name, _Speaker()).told
        engine.admission.refuse(Refusal(reason, text), driver.now, [] if reason in told else driver.out, name)
        told.add(reason)
