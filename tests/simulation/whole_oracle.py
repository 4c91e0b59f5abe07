"""The oracle of a whole simulation: it knows what workers did and what the supervisor told, and nothing of how.

Time in which the supervisor cannot have seen anything counts for nobody: ``most`` and ``least`` are the most and
the least of the time since its start that it may count (a pass of its loop counts what it asked to wait, and a
bit).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from math import inf
from typing import TYPE_CHECKING, Any

import msgpack

from banken.errors import WireError
from banken.protocol.codec import decode
from banken.protocol.incidents import Incident
from banken.protocol.messages import Kind
from banken_supervisor.engine.effects import Event
from banken_supervisor.journal.store import CLOCK_S

from .whole_names import Finding, Name, Open
from .whole_net import Link
from .whole_world import BEGIN, Process, World

if TYPE_CHECKING:
    from .whole_workers import Worker

EARLY = 0.002
"""Seconds by which times may differ from those on the wire, which are whole milliseconds."""
SLACK = 0.3
"""Seconds of the supervisor's own time within which everything that is due has to happen."""
RETURN = 2.0
"""Seconds that a new supervisor gives everybody beyond the timeout."""
TOLD, TOLD_SLOWLY = 0.5, 3.0
"""Seconds of its own time within which what it decided has to be told, and done. It waits for a disk for two."""
TROUBLE = 7.0
"""Seconds after the disk's trouble within which the journal may be behind: it tries again each five."""
LADDER = (0.0, 3.0, 8.0)
BUDGET, PERIOD = 3, 300.0
QUIET = {"declared", "first-fed", "callback-done", "refused"}
"""Events that the journal does not keep."""


class Oracle:
    """Hears everything. ``findings``: what is wrong."""

    def __init__(self, world: World, journal: str) -> None:
        self.world, self.journal = world, journal
        self.findings: list[Finding] = []
        self.names: dict[str, Name] = {}
        self.verdicts = self.deeds = self.calls = 0
        self.most = self.least = 0.0
        self.up = False
        self.trouble = -1e9
        """when the disk was last in trouble"""
        self.commit_s = 0.0
        """seconds that a commit takes"""
        self.lost_at = -1e9
        """when the journal was last removed"""
        self.threads_short = -1e9
        self.slow_deeds = -1e9
        self.disturbed: Callable[[Process | None], float] = lambda process: -inf
        """when the way of this process's messages was last disturbed on purpose"""
        self.deaf = -1e9
        """when subscribers last lost something on purpose"""
        self._real = 0.0
        self._waiting: dict[int, tuple[float, Event]] = {}
        """decided and not told, by number"""
        self._seq = self._told_seq = 0
        self._told: list[tuple[int, float, dict[str, Any]]] = []
        """of this run: number, when, the event"""
        self.run = ""
        """the supervisor's, as the journal has it"""
        self._links: list[tuple[Name, Link, int, float]] = []
        """feeds that were handed over and are not in the kernel yet"""
        self._expired: dict[str, bool] = {}
        """by incident that was told: whether its end was told, too"""
        self._opened_at: dict[str, float] = {}
        self._ever: dict[str, str] = {}
        """by incident that was in the journal or told: the name"""
        self._steps: dict[tuple[str, int], float] = {}
        """when each step was told that it begins"""
        self._begun: dict[tuple[str, int], float] = {}
        """of those that are to be done: when, in the supervisor's own time"""
        self._done: dict[tuple[str, int], float] = {}
        self._excused: set[tuple[str, int]] = set()
        self._runs: dict[str, list[float]] = {}
        self._called: dict[tuple[str, int, int], float] = {}
        self._heard_of: set[tuple[str, int]] = set()
        """(incident, process) of callbacks that ran"""

    def wrong(self, kind: str, name: str, why: str) -> None:
        self.findings.append(Finding(kind, round(self.world.now - BEGIN, 6), name, why))
        self.world.say("WRONG", kind, name, why)

    # -- what workers do ------------------------------------------------------------------------------

    def began(self, worker: Worker, process: Process) -> None:
        one = self.names.get(worker.name)
        if one is None:
            one = self.names[worker.name] = Name(worker.name, worker.timeout, 0.0)
        one.process, one.idle = process, -inf
        self.world.say("begins", worker.name, process.pid)

    def child(self, name: str, process: Process) -> None:
        one = self.names[name] = Name(name, 20.0, 0.0)
        one.process = process
        self.world.say("child", name, process.pid)

    def section(self, name: str, timeout: float) -> None:
        task = self.world.task
        one = self.names[name] = Name(name, timeout, 0.0)
        one.process = None if task is None else task.process
        self.world.say("section", name, timeout)

    def left(self, name: str) -> None:
        self.world.say("leaves", name)
        self.names[name].unsure = True  # until the release arrives

    def said(self, name: str, what: str, *args: Any) -> None:
        self.world.say(what, name, *args)
        one = self.names[name]
        if what in ("exit", "crash", "leave"):
            one.unsure = True

    def idle(self, name: str) -> None:
        """It has nothing to do, or told how long that takes. Its client says it again, for a supervisor that comes
        later."""
        self.world.say("idle", name)
        self.names[name].idle = self.world.now

    def busy(self, name: str) -> None:
        self.names[name].idle = -inf

    def fed(self, name: str, link: Link, process: Process) -> None:
        """``feed`` was called while there was a connection with room."""
        one = self.names[name]
        if one.process is process:
            self._links.append((one, link, link.taken, self.most_at()))

    def ended(self, worker: Worker, process: Process) -> None:
        self.gone(worker.name, process)
        for name, one in self.names.items():
            if one.process is process and name != worker.name:
                one.judged, one.unsure = False, True  # a section ends with it

    def unheard(self, name: str) -> None:
        """Its last word did not arrive, though nothing was in its way."""
        self.wrong("lost", name, "its last word did not arrive")

    def gone(self, name: str, process: Process) -> None:
        """A process has ended."""
        self.world.say("ended", name, process.pid, process.status)
        one = self.names[name]
        if one.process is not process:
            return
        one.unsure = True
        clean = process.status in (0, -1, -2, -15, -13)
        if self.up and one.known and not clean and one.judged and self.heard_of(one, process):
            one.unsure = False
            one.must_by = None if self._is_paused(one) else self.least + SLACK + 1.0
        elif clean:
            one.judged = False

    def heard_of(self, one: Name, process: Process) -> bool:
        """Whether the supervisor that is up has had a message of this very process."""
        return one.since_start and one.heard_pid == process.pid

    # -- the wire -------------------------------------------------------------------------------------

    def arrived(self, process: Process, frame: bytes, link: Link) -> None:
        """A message is in the kernel of the supervisor's host."""
        try:
            message = decode(frame)
        except WireError:
            self.world.say("arrives", "garbage")
            return
        self.world.say("arrives", message.kind.name, message.name)
        one = self.names.get(message.name)
        if (
            one is None
            or message.identity is None
            or one.process is None
            or message.identity.pid != one.process.pid
        ):
            return
        one.heard_pid = process.pid
        if message.kind in (Kind.FEED, Kind.DECLARE, Kind.NOTE, Kind.WORK):
            one.known = one.judged = one.since_start = one.unread = True
            seconds = 0.0 if message.kind is not Kind.WORK else message.args[0]
            one.is_idle, one.promised = seconds is None, seconds and self.most_at() + seconds
            one.promised_for = seconds or 0.0
            one.resolution = message.resolution
            one.must_by, one.extended = None, 0.0
            one.unsure = not process.alive
        elif message.kind in (Kind.RELEASE, Kind.LEAVING):
            one.judged, one.unsure, one.must_by = False, True, None
            if message.kind is Kind.LEAVING and message.args and message.args[0] is not None:
                one.failed = self.least
        elif message.kind is Kind.FAIL:
            one.failed = self.least
            one.must_by = None if not one.known else None if self._is_paused(one) else self.least + SLACK
        elif message.kind is Kind.PAUSE and one.known:
            one.hold = max(self.most_at(), self.least) + message.args[0] + 0.1
            one.paused_until, one.kept_pause = self.world.now + message.args[0], False
            one.must_by = None
        elif message.kind is Kind.EXTEND and one.known:
            one.extended = self.most_at() + message.args[0]
            one.extended_for = message.args[0]

    def lose(self) -> None:
        """Somebody removes the journal. A supervisor that is up writes all again; one that is not finds nothing."""
        self.lost_at = self.world.now
        for one in self.names.values() if not self.up else ():
            one.open, one.known, one.unsure = None, False, True

    def _is_paused(self, one: Name) -> bool:
        return self.world.now < one.paused_until or self.least < one.hold

    # -- the supervisor's time ------------------------------------------------------------------------

    def started(self) -> None:
        """A supervisor begins."""
        self.up = True
        self.most = self.least = 0.0
        self._real = self.world.now
        self._seq = self._told_seq = 0
        self._told.clear()
        self._waiting.clear()
        self.world.say("supervisor begins")

    def woke(self, real: float, asked: float) -> None:
        """One pass of its loop."""
        passed = real - self._real
        self._real = real
        self.most += min(passed, asked + 0.1)
        self.least += min(passed, asked + 0.005)
        if self._links:
            self._handed_over()
        for one in self.names.values():
            if one.unread:
                one.unread, one.heard = False, self.least
            # What came while it was stopped came, by its own time, when it went on.
            if one.good is not None and one.good > self.most:
                one.good = self.most
            if one.promised:
                one.promised = min(one.promised, self.most + one.promised_for)
            one.extended = min(one.extended, self.most + one.extended_for)

    def most_at(self) -> float:
        """The most of its time at this moment, in the middle of a pass."""
        return self.most + self.world.now - self._real if self.up else 0.0

    def _handed_over(self) -> None:
        left = []
        for each in self._links:
            one, link, count, at = each
            if link.moved >= count:
                one.good = max(one.good or 0.0, min(at, self.most))
            elif link.open:
                left.append(each)
        self._links = left

    # -- what the supervisor decides ------------------------------------------------------------------

    def decided(self, event: Event) -> None:
        """An event is on its way to the journal and to subscribers."""
        kind, data, name = event.type.value, event.data, event.name
        self._seq += 1
        self._waiting[self._seq] = self.least, event
        self.world.say("decides", kind, name, data.get("incident", ""), data.get("cause", ""), data.get("step", ""))
        if kind == "internal-error":
            self.wrong("broken", name or "", f"internal error at {data.get('place')}: {data.get('text')}")
        one = None if name is None else self.names.get(name)
        if one is None or "replay" in data:
            return
        if kind == "expired":
            self._verdict(one, data)
        elif kind in ("recovered", "closed"):
            self._closed(one, kind, data)
        elif kind == "action":
            self._step(one, data)
        elif kind == "paused" and data["seconds"] is not None:
            # Said while the supervisor stood still, it begins now.
            one.paused_until = max(one.paused_until, self.world.now + data["seconds"])

    def _verdict(self, one: Name, data: dict[str, Any]) -> None:
        cause, now = data["cause"], self.most
        self.verdicts += 1
        if one.open is not None:
            self.wrong("doubled", one.name, f"{data['incident']} opens while {one.open.id} is open")
        one.open = Open(data["incident"], now, self.world.now)
        one.must_by = None
        if one.unsure:
            return
        if not one.judged:
            self.wrong("false", one.name, f"{cause}: it was released")
        elif cause in ("timeout", "grace"):
            back = 0.0 if one.since_start else RETURN
            if one.promised:  # it said itself when its next message is due
                if now < one.promised - EARLY:
                    self.wrong("false", one.name, f"{cause} before the moment that it had told")
            elif one.good is not None and now - max(one.good, back) < one.timeout - EARLY:
                what = "a feed" if one.since_start else "the start"
                self.wrong("false", one.name, f"{cause} {now - one.good:.4f} s after {what}")
            elif now < one.extended - EARLY or self.world.now < one.paused_until - 0.1 - EARLY:
                self.wrong("false", one.name, f"{cause} in a pause or an extension")
            elif one.idle > self.disturbed(one.process):
                self.wrong("false", one.name, f"{cause} while it is idle")
        elif cause == "failed" and self.least - one.failed > 15.0:
            self.wrong("false", one.name, "it did not fail")
        elif cause == "exited" and one.process and one.process.alive and self.heard_of(one, one.process):
            self.wrong("false", one.name, "exited, and it lives")

    def _closed(self, one: Name, kind: str, data: dict[str, Any]) -> None:
        if one.open is None or one.open.id != data["incident"]:
            if data["how"] not in ("lost", "forgotten"):
                self.wrong("doubled", one.name, f"{kind} of {data['incident']}, open is {one.open}")
            return
        one.open = None

    def _step(self, one: Name, data: dict[str, Any]) -> None:
        step, key = data["step"], (data["incident"], data["step"])
        if one.open is None or one.open.id != data["incident"]:
            self.wrong("order", one.name, f"step {step} of {data['incident']}, open is {one.open}")
        elif step < len(LADDER) and self.most < one.open.since + LADDER[step] - EARLY and one.open.since > 0.0:
            self.wrong("order", one.name, f"step {step} after {self.most - one.open.since:.3f} s")
        if key in self._steps and not self._excuse(self._steps[key]):
            self.wrong("doubled", one.name, f"step {step} of {data['incident']} begins again")

    def _excuse(self, since: float) -> bool:
        """Whether the journal had trouble, or was lost, from a little before ``since`` until now."""
        return max(self.trouble + TROUBLE, self.lost_at + TROUBLE) >= since - 2.5

    # -- what it tells, and does ----------------------------------------------------------------------

    def told(self, topic: bytes, body: bytes) -> None:
        """An event goes out to subscribers."""
        event = msgpack.unpackb(body)
        seq, kind, name = event["seq"], event["type"], event.get("name")
        self.world.say("tells", seq, kind, name, event.get("incident", ""))
        if seq <= self._told_seq:
            self.wrong(
                "doubled" if seq == self._told_seq else "order", name or "", f"{kind} {seq} after {self._told_seq}"
            )
        self._told_seq = seq
        if self._waiting.pop(seq, None) is None:
            self.wrong("doubled", name or "", f"{kind} {seq} was told before, or never decided")
        self._told.append((seq, self.world.now, event))
        if kind == "expired" and "replay" not in event:
            if event["incident"] in self._expired:
                self.wrong("doubled", name, f"{event['incident']} is told again")
            self._expired[event["incident"]] = False
            self._opened_at[event["incident"]] = self.world.now
            self._ever[event["incident"]] = name
        elif kind in ("recovered", "closed"):
            self._expired[event["incident"]] = True
        elif kind == "journal" and self.lost_at + CLOCK_S >= self.world.now - 1.0:
            self.lost_at = self.world.now  # it is noticed only now, with the next write, and told without a journal
        elif kind == "action":
            self._step_told(name, event)
        elif kind == "paused" and name in self.names:
            self.names[name].kept_pause = True
        elif kind == "action-dropped":
            self._excused.add((event["incident"], event["step"]))

    def _step_told(self, name: str, event: dict[str, Any]) -> None:
        key = event["incident"], event["step"]
        self._steps[key] = self.world.now
        self._begun[key] = self.least
        if event["step"] == 2:
            runs = self._runs.setdefault(name, [])
            runs.append(self.world.now)
            within = [at for at in runs if self.world.now - at < PERIOD - 60.0]
            if len(within) > BUDGET and not self._excuse(within[0]):
                self.wrong("doubled", name, f"{len(within)} runs of step 2 within {PERIOD - 60.0:.0f} s")

    def deed(self, step: int, incident: Incident) -> None:
        """A step of the ladder is done."""
        key = incident.id, step
        self.deeds += 1
        self.world.say("deed", step, incident.name, incident.id)
        if key in self._done and not self._excuse(self._done[key]):
            self.wrong("doubled", incident.name, f"step {step} of {incident.id} is done again")
        if key not in self._steps:
            self.wrong("order", incident.name, f"step {step} of {incident.id} was not told")
        self._done[key] = self.world.now

    def called(self, worker: Worker, incident: Incident) -> None:
        """A callback in a worker."""
        task = self.world.task
        assert task is not None
        key = incident.id, incident.run, task.process.pid
        self.calls += 1
        self.world.say("called", worker.name, incident.id, incident.run)
        if key in self._called:
            self.wrong("doubled", worker.name, f"its callback runs again for {incident.id}, run {incident.run}")
        if incident.id not in self._ever:
            self.wrong("false", worker.name, f"its callback runs for {incident.id}, which was not told")
        self._called[key] = self.world.now
        self._heard_of.add((incident.id, task.process.pid))

    def listens(self, worker: Worker, since: float) -> None:
        """A worker's listener has had a connection since then, and nothing has been in its way."""
        one, process = self.names[worker.name], worker.process
        if one.open is None or process is None or one.heard_pid != process.pid or not one.judged:
            return
        clear = self.world.now - max(since, one.open.at, self.deaf, self.trouble + TROUBLE, self.lost_at) > 6.0
        if clear and (one.open.id, process.pid) not in self._heard_of:
            self._heard_of.add((one.open.id, process.pid))
            self.wrong("lost", worker.name, f"its callback did not run for {one.open.id}")

    # -- from time to time ----------------------------------------------------------------------------

    def look(self) -> None:
        """Whether anything is overdue."""
        for one in self.names.values():
            self._look_at(one)
        for seq, (at, event) in list(self._waiting.items()):
            # One commit is under way already, another one may open the journal.
            limit = min(TOLD_SLOWLY, TOLD + 3 * self.commit_s)
            if self.least - at > (TOLD_SLOWLY if self._excuse(self.world.now - 30.0) else limit):
                del self._waiting[seq]
                self.wrong("lost", event.name or "", f"{event.type.value} {seq} was decided and is not told")
        calm = self.world.now - max(self.threads_short, self.slow_deeds) > 60.0
        for key, at in list(self._begun.items()) if calm else ():
            if key in self._done or key in self._excused:
                del self._begun[key]
            elif self.least - at > TOLD:
                del self._begun[key]
                self.wrong("lost", self._ever.get(key[0], ""), f"step {key[1]} of {key[0]} began and is not done")

    def _look_at(self, one: Name) -> None:
        if one.open is not None:
            fed = one.heard > one.open.since + EARLY and one.judged
            fed = fed and not (one.is_idle or one.promised)  # what is said of work ends no failure
            if fed and self.least - one.heard > SLACK and not one.unread:
                self.wrong("missed", one.name, f"{one.open.id} is open {self.least - one.heard:.3f} s after a feed")
                one.heard = one.open.since
            return
        if not one.known or not one.judged or one.unsure or one.unread or one.is_idle:
            return
        due = max(one.heard, one.hold) + one.timeout + one.resolution
        due = max(due, one.extended, one.promised or 0.0)
        if not one.since_start:
            due = max(due, one.timeout + RETURN + min(0.5 * one.timeout, 1.0))
        if one.must_by is not None:
            due = min(due, one.must_by)
        if self.least > due + SLACK:
            self.wrong(
                "missed", one.name, f"silent for {self.least - one.heard:.3f} s, due {self.least - due:.3f} s ago"
            )
            one.unsure = True

    # -- a supervisor ends ----------------------------------------------------------------------------

    def died(self, *, cleanly: bool) -> None:
        """It has ended: what is in the journal is what the next one begins with."""
        self.up = False
        self.world.say("supervisor ends")
        incidents, events = self._read()
        now = self.world.now
        for seq, at, event in self._told:
            kept = event["type"] not in QUIET and "replay" not in event and event["type"] != "callback-repeated"
            if kept and seq not in events and not self._excuse(at):
                self.wrong(
                    "lost", event.get("name", ""), f"{event['type']} {seq} was told and is not in the journal"
                )
        if cleanly and self._waiting and not self._excuse(now):
            seq, (_, event) = next(iter(self._waiting.items()))
            self.wrong("lost", event.name or "", f"{event.type.value} {seq} was decided and not told at the end")
        for id_, is_over in self._expired.items():
            kept = incidents.get(id_)
            if kept is not None and is_over and kept[1] is None and not self._excuse(now):
                self.wrong("lost", kept[0], f"the end of {id_} was told and is not in the journal")
            if kept is None and id_ in self._opened_at and not self._excuse(self._opened_at[id_]):
                self.wrong("lost", self._ever[id_], f"{id_} was told and is not in the journal")
        self._links.clear()
        for one in self.names.values():
            mine = [id_ for id_, (name, closed) in incidents.items() if name == one.name and closed is None]
            before, one.open = one.open, None
            if mine:
                one.open = Open(mine[-1], 0.0, now)
                self._ever[mine[-1]] = one.name
            excused = self._excuse(before.at if before else now)
            one.good = 0.0 if one.known and not one.unsure else None
            one.heard, one.hold, one.since_start, one.unread = 0.0, 0.0, False, False
            one.must_by, one.failed, one.is_idle, one.promised = None, -inf, False, 0.0
            left = one.paused_until - now
            if one.extended > self.most:
                one.unsure = True
            one.extended = 0.0
            if left > 0 and not one.kept_pause:
                one.unsure, one.paused_until = True, now
            if left > 0:
                one.hold = left
            if one.process is not None and not one.process.alive:
                one.unsure = True
            if excused:
                one.known, one.unsure = False, True
        self._begun.clear()
        self._told.clear()
        self._waiting.clear()

    def _read(self) -> tuple[dict[str, tuple[str, float | None]], set[int]]:
        """(each incident's name, and when it was closed; the numbers of this run's events)."""
        try:
            with closing(_connect(f"file:{self.journal}?mode=ro", uri=True)) as file:
                rows = file.execute("SELECT id, name, closed FROM incidents ORDER BY opened, id").fetchall()
                events = file.execute("SELECT seq FROM events WHERE run = ?", (self.run,)).fetchall()
                return {id_: (name, closed) for id_, name, closed in rows}, {seq for (seq,) in events}
        except sqlite3.Error:
            return {}, set()


_connect = sqlite3.connect
