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

from banken.process_identity import process_start
from banken.protocol.limits import REASON_MAX
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.policy import NEVER
from banken_supervisor.engine.principal import Refusal
from banken_supervisor.processes.handle import ProcessError, ProcessGone, ProcessHandle, real_user
from banken_supervisor.processes.namespaces import SPACE, pid_in_namespace_of
from banken_supervisor.programs.program_watchdogs import ProgramWatchdogs
from banken_supervisor.programs.run_records import file_name
from banken_supervisor.sources.notify_datagram import Datagram
from banken_supervisor.sources.notify_fields import Said
from banken_supervisor.sources.notify_sockets import NotifySockets


@dataclass(slots=True)
class _Speaker:
    """What is remembered of one name."""

    status: str | None = None
    main: ProcessIdentity | None = None
    """of what is no program: the process that was named by MAINPID; it feeds, whoever sends"""
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
    fault: Callable[[Exception], None]
    """is told of exceptions, each of which costs one datagram"""
    _allow: Callable[[ProcessIdentity], None]
    """is told of a process that said itself that it is this one: it may be acted upon"""
    refused: Counter[str] = field(default_factory=Counter)
    """datagrams and fields that did not count, by reason"""
    access: dict[str, str] = field(default_factory=dict)
    """``notify_access`` of the names that are no programs"""
    _speakers: dict[str, _Speaker] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sockets.handle = self.handle
        self._programs.news = self._sockets.look_again
        self._programs.catch_up, self._sockets.fault = self._sockets.catch_up, self.fault
        self._programs.notify_path = self._sockets.path
        self._programs.manager.notify_socket = self.serve
        self._programs.manager.ready_pipe = self._sockets.open_pipe

    def serve(self, name: str, address: str, uid: int) -> str | None:
        """Bind the socket of a program, from any thread; None: that is not possible. ``address``: its directory.
        ``uid``: its user."""
        try:
            return self._sockets.open(name, _path(name, address), None if uid == os.geteuid() else uid)
        except OSError as fault:
            self._unbound(name, fault)
            return None

    def follow(self, outsiders: Mapping[str, str]) -> Callable[[], None]:
        """These watchdogs, which are no programs, speak by sd_notify from now on, with this ``notify_access``.
        Returns what is to be called, from any thread, to bind and unbind their sockets."""
        self.access = dict(outsiders)
        wanted = {*outsiders, *self._programs.names()}
        address = self._programs.directory

        def bind() -> None:
            for name in self._sockets.names():
                if name not in wanted:
                    self._sockets.close_one(name)
            for name in outsiders:
                try:
                    self._sockets.awaited.open(name, _path(name, address))
                except OSError as fault:
                    self._unbound(name, fault)

        return bind

    def _unbound(self, name: str, fault: OSError) -> None:
        text = f"it cannot speak by sd_notify: {fault}"
        self._post(lambda: self._refuse(name, "notify-socket", text))

    def handle(self, datagram: Datagram) -> bool:
        """Take one; False: not yet, for its program's process is not known by now."""
        name, said = datagram.name, datagram.said
        if self._programs.is_spawning(name):
            return False
        self._speaker(name)
        self._driver.engine.decoded_bytes += max(1, datagram.size)
        if isinstance(said, str):
            self._refuse(name, "notify", f"a datagram of pid {datagram.pid} is dropped: {said}")
            return True
        for text in said.ignored:
            self._refuse(name, "notify", f"pid {datagram.pid}: {text}, and is ignored")
        if said.not_kept:
            text = f"{' and '.join(said.not_kept)} of pid {datagram.pid} is not kept: descriptors are closed"
            self._refuse(name, "notify-not-kept", text)
        may_say_all = self._may_say_all(datagram)
        if said.main_pid is not None:  # first: what the new main process says in the same datagram counts
            self._name_main(name, said.main_pid, datagram)
            may_say_all = may_say_all or self._may_say_all(datagram)
        if not may_say_all:
            said = self._only_anybodys(datagram, said)
        self._take(name, said, datagram)
        return True

    def _take(self, name: str, said: Said, datagram: Datagram) -> None:
        engine, now, out = self._driver.engine, self._driver.now, self._driver.out
        speaker = self._speakers[name]
        if said.status is not None:
            speaker.status = said.status
            engine.notified.status(name, said.status)
        if said.extend is not None:
            engine.notified.extend(name, said.extend, now, out)
            self._programs.manager.programs.extend_stop(name, now + said.extend)
        if said.why is not None:
            self._programs.last_words[name] = said.why
        at = self._driver.time_of(datagram.at)
        if said.ready:
            self._ready(name, at, is_line=datagram.is_line)
        elif said.reloading:
            self._programs.manager.reloading.add(name)
        elif said.stopping:
            engine.notified.stopping(name, self._programs.stop_timeout(name), now)
        declared = self._declaration(name, said.timeout)
        if said.triggers:
            why = speaker.status or "it said WATCHDOG=trigger"
            engine.tell(Message(Kind.FAIL, name, speaker.main, 0.0, declared, (why[:REASON_MAX],)), now, out)
        elif said.progress is not None:
            engine.tell(Message(Kind.NOTE, name, speaker.main, 0.0, declared, (said.progress, None)), at, out)
        elif said.feeds or said.timeout is not None:
            engine.tell(Message(Kind.FEED, name, speaker.main, 0.0, declared), at, out)

    def _ready(self, name: str, at: float, *, is_line: bool) -> None:
        engine, programs, out = self._driver.engine, self._programs, self._driver.out
        programs.manager.reloading.discard(name)
        readiness = programs.readiness(name)
        if not is_line:
            engine.notified.ready(name, at, out)
        if readiness is not None and (readiness.fd is not None if is_line else readiness.notify):
            programs.became_ready(name, engine, at, out)

    def _declaration(self, name: str, timeout: float | None) -> Declaration | None:
        if timeout is None:
            return None
        engine = self._driver.engine
        known = engine.get(name) or engine.rules.policy_of(name)  # its former process may have released it
        before = Declaration() if known is None else known.declaration
        return before._replace(timeout=NEVER if timeout == inf else timeout)

    # -- who may say what -----------------------------------------------------------------------------

    def _may_say_all(self, datagram: Datagram) -> bool:
        name = datagram.name
        if datagram.is_line or self._programs.notify_access(name) == "all" or self.access.get(name) == "all":
            return True
        main = self._main(name)
        if main == datagram.pid or main is None:
            return True
        self._forget_main_if_ended(name)
        return self._main(name) is None

    def _speaker(self, name: str) -> _Speaker:
        """What is remembered of it. The main process of what is no program may have been named to the supervisor
        before this one: then it owns the watchdog, and has no nonce."""
        found = self._speakers.get(name)
        if found is None:
            found = self._speakers[name] = _Speaker()
            record = self._driver.engine.get(name)
            owner = None if record is None or name in self._programs else record.owner
            if owner is not None and owner.boot == SPACE and not owner.nonce:
                found.main = owner
        return found

    def _main(self, name: str) -> int | None:
        """The pid of the main process; None: there is none that is known."""
        process = self._programs.process(name) or self._speakers[name].main
        return 0 if process is None and name in self._programs else None if process is None else process.pid

    def _forget_main_if_ended(self, name: str) -> None:
        """What MAINPID named of what is no program lasts as long as that process. (The end of a program's main
        process is the program manager's matter.)"""
        speaker = self._speakers[name]
        if speaker.main is None:
            return
        try:
            with ProcessHandle.open_pid(speaker.main.pid, speaker.main.start) as handle:
                has_ended = not handle.alive
        except ProcessGone:
            has_ended = True
        except ProcessError:  # it cannot be known now
            has_ended = False
        if has_ended:
            speaker.main = None

    def _name_main(self, name: str, number: int, datagram: Datagram) -> None:
        """Of a program, one of its own processes becomes the main one, by the word of one of its own; of what is no
        program, one of the sender's user. ``number``: as the sender has it in its pid namespace."""
        try:
            handle = ProcessHandle.open_pid(pid_in_namespace_of(datagram.pid, number))
        except ProcessError as fault:
            self._refuse(name, "notify-main", f"MAINPID={number} of pid {datagram.pid} is ignored: {fault}")
            return
        identity = ProcessIdentity(SPACE, handle.pid, handle.start, b"")
        if name in self._programs:
            if self._is_own(name, handle.pid) and self._is_own(name, datagram.pid):
                self._programs.manager.set_main(name, handle)
                return
            why = "it, or what says so, is no process of this program"
        elif real_user(handle.pid) == datagram.uid or datagram.uid == 0:
            self._speakers[name].main = identity
            if handle.pid == datagram.pid:  # by the kernel's word
                self._allow(identity)
            handle.close()
            return
        else:
            why = f"it is another user's than the sender's, {datagram.uid}"
        handle.close()
        self._refuse(name, "notify-main", f"MAINPID={number} of pid {datagram.pid} is ignored: {why}")

    def _is_own(self, name: str, pid: int) -> bool:
        """Whether this is a living process of the program."""
        process = self._programs.process(name)
        if process is not None and process.pid == pid:
            return True
        start = process_start(pid) if pid > 0 else 0
        who = ProcessIdentity(SPACE, pid, start, b"")
        return bool(start) and self._programs.program_of(who) == name

    def _only_anybodys(self, datagram: Datagram, said: Said) -> Said:
        # MAINPID has a rule of its own.
        kept = Said(ready=said.ready, status=said.status, barrier=said.barrier, main_pid=said.main_pid)
        if kept._replace(ignored=said.ignored, not_kept=said.not_kept) != said:
            name, main = datagram.name, self._main(datagram.name)
            whose = f"whose main process is pid {main}" if main else "which has no main process now"
            text = (
                f"pid {datagram.pid} feeds {name!r}, {whose}: that does not count; "
                'notify_access = "all" lets every process of it feed'
            )
            self._refuse(name, "notify-access", text)
        return kept

    def _refuse(self, name: str, reason: str, text: str) -> None:
        """Count it, and tell it once a name."""
        engine, driver = self._driver.engine, self._driver
        self.refused[reason] += 1
        told = self._speaker(name).told
        engine.admission.refuse(Refusal(reason, text), driver.now, [] if reason in told else driver.out, name)
        told.add(reason)


def _path(name: str, address: str) -> str:
    """Where the socket of this name is. ``address``: the supervisor's directory."""
    return os.path.join(address, "notify", file_name(name))
