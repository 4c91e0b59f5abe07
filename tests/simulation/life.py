"""One watchdog's life as the oracle sees it: marks in credited time (``*_c``) and awake time (``*_a``)."""

from __future__ import annotations

from banken.protocol.messages import Declaration, Feeders, Kind, Message, ProcessIdentity

from .mail import SECOND

SLACK = 4_000
"""Awake microseconds between a deadline and its verdict: 1 ms for the poll's grain, 1 ms for a deadline kept
in whole ticks, and 2 ms for the probe's trip through the I/O thread (in this host below 0.5 ms)."""

RETURN = 2 * SECOND
"""What a supervisor with a journal allows everybody beyond the full timeout when it begins."""

SPREAD_SHARE, SPREAD_PER = 0.5, 1_000
"""And beyond that: at most this share of the timeout, and a second for so many watchdogs."""

KEPT_LATE = 20_000
"""Microseconds from the reading of a message to the moment that what it changed is kept, with the clock's time."""

LONG = 60 * SECOND
"""What is longer is due by its last feed, also after a restart,"""

LONG_HELD, LONG_UNSURE = 40 * SECOND, 35 * SECOND
"""after a grace of at most so long, and so much later: what was kept may be as much older than the last feed."""

PROOFS = (Kind.FEED, Kind.NOTE)

TAKING = (*PROOFS, Kind.DECLARE)
"""What takes a name; the rest changes no ownership."""


def micros(seconds: float) -> int:
    """Whole microseconds."""
    return round(seconds * SECOND)


class Spell:
    """One open incident, and when its callback ran last."""

    __slots__ = ("due_c", "id", "ran_a", "run")

    def __init__(self, incident: str | None, run: int | None, c: int, a: int) -> None:
        self.id = incident
        self.run = run
        self.due_c = c
        """when the last run was due; the next is due an interval later, however late that one was"""
        self.ran_a = a


class Life:
    """What is known of one name that is watched. States: waiting, alive, expired, paused, released."""

    def __init__(self, name: str, declared: Declaration, c: int, a: int) -> None:
        self.name = name
        self.state = "waiting"
        self.cause: str | None = None
        self.owner: ProcessIdentity | None = None
        self.displaced: set[ProcessIdentity] = set()
        self.members: set[ProcessIdentity] = set()
        """of a pool: those that fed it and did not release it since"""
        self.resolution = self.resolution_most = 0
        self.since_c, self.since_a = c, a
        """where the current allowance (grace or timeout) begins"""
        self.judged_a = a
        """no verdict is owed before this moment"""
        self.extended_c = self.extended_a = 0
        self.value: object = None
        self.moved_c, self.moved_a = c, a
        """when the progress value changed; whether a process that never gave one stands still is left open"""
        self.until: tuple[int, int] | None = None
        """when the pause ends, on both clocks; None: when somebody says so"""
        self.until_at = 0
        """when the pause ends by the clock on the wall"""
        self.ends_unseen = False
        """its pause may end while no supervisor runs, and what is long counts from then"""
        self.unfed = False
        """it was not fed since its start, before the pause nor in it"""
        self.extended_at = 0
        """when the extension does"""
        self.reported = False
        self.value_unsure = False
        """the value that is kept may be an older one: whether the next one moves is left open"""
        self._put(declared)

    def carried_over(self, c: int, a: int, at: int, among: int, behind: int, away: int, lost: int) -> None:
        """Another supervisor begins now and goes on with it: everything has its whole time again, but for what is
        longer than a minute.

        ``away``: how long there was none; ``lost``: what the clock ``c`` of the last one lost at most.

        ``behind``: by how much the clock ``a`` was behind the wall's in the last pass. What it lost since a pause
        began is not counted as a part of that, if the record was written once more meanwhile.
        """
        self.displaced = set()
        spread = min(round(self.timeout * SPREAD_SHARE), among * SECOND // SPREAD_PER)
        self.reported = False
        self.judged_a = a
        if self.state == "paused":
            if self.until is not None:
                self.ends_unseen = max(self.timeout, self.grace, self.progress or 0) > LONG
                left = self.until_at - at
                late = KEPT_LATE + max(0, behind - (self.until_at - self.until[1]))
                held = LONG_HELD if max(self.timeout, self.grace) > LONG else RETURN  # or until its next feed
                self.until = c + left - KEPT_LATE, a + max(left + late, held)
                self.judged_a = a + held
        elif self.state != "expired":
            if (self.grace if self.state == "waiting" else self.timeout) > LONG:
                self.since_c, self.since_a = self._go_on(self.since_c, self.since_a, away, lost)
            else:
                self.since_c, self.since_a = c + RETURN, a + RETURN + spread
            extended, left = self.extended_a > 0, self.extended_at - at
            late = KEPT_LATE + max(0, behind - (self.extended_at - self.extended_a))
            certain = self.extended_c > 0  # a resume may have ended it
            self.extended_c = c + RETURN + left - KEPT_LATE if certain and left > KEPT_LATE else 0
            self.extended_a = a + RETURN + left + late if extended and left > -late else 0
        if self.state == "alive" and self.progress is not None and self.progress > LONG:
            self.moved_c, self.moved_a = self._go_on(self.moved_c, self.moved_a, away, lost)
            self.moved_a = max(self.moved_a, a + LONG_HELD - self.progress)
            if self.timeout > LONG:
                self.judged_a = a + LONG_HELD
            self.value_unsure = True
            return
        if self.state in ("waiting", "alive") and (self.grace if self.state == "waiting" else self.timeout) > LONG:
            self.judged_a = a + LONG_HELD
        if self.cause != "no-progress" or self.state != "expired":
            self.value = None
        self.moved_c, self.moved_a = c, a

    @staticmethod
    def _go_on(since_c: int, since_a: int, away: int, lost: int) -> tuple[int, int]:
        return since_c - lost - away, since_a - away + KEPT_LATE + LONG_UNSURE

    def _put(self, declared: Declaration) -> None:
        self.declared = declared
        self.timeout, self.grace = micros(declared.timeout), micros(declared.grace)
        self.interval_least = self.interval_most = micros(declared.interval)
        progress = declared.progress_timeout
        self.progress = None if progress is None else micros(progress)

    def declare(self, declared: Declaration, a: int) -> None:
        """Another declaration is in force from now on; who is overdue by it now is owed a verdict from now."""
        if declared == self.declared:
            return
        before = self.interval_least, self.interval_most
        self._put(declared)
        if self.state == "expired":  # which interval the next run keeps is left open
            self.interval_least = min(before[0], self.interval_least)
            self.interval_most = max(before[1], self.interval_most)
        if self.state == "waiting":
            self.since_a = a  # whether the grace begins anew is left open
        self.judged_a = a
        self.reported = False

    def ran(self) -> None:
        """The callback ran: from here the interval counts."""
        self.interval_least = self.interval_most = micros(self.declared.interval)
        self.reported = False

    def listens(self, message: Message) -> bool:
        """Whether its sender may say this of the watchdog."""
        owner, who, kind = self.owner, message.identity, message.kind
        if self.declared.feeders is Feeders.ANY:
            return kind != Kind.RELEASE or who is None or not self.members or who in self.members
        if who is None or owner is None or who == owner:
            return True
        if kind not in TAKING:
            return kind != Kind.RELEASE and who not in self.displaced
        if who.boot == owner.boot and who.start != owner.start and who.start and owner.start:
            return who.start > owner.start
        return who not in self.displaced

    def hear(self, message: Message, a: int, *, operators: bool) -> None:
        """The sender of an accepted message owns the watchdog; its declaration counts unless an operator's does."""
        who = message.identity
        if who is None:  # whether a one-shot command's resolution counts is left open
            self.resolution_most = max(self.resolution_most, micros(message.resolution))
        elif message.kind not in TAKING and who != self.owner and self.declared.feeders is not Feeders.ANY:
            if self.owner is None:  # it may have made the watchdog
                self.resolution_most = max(self.resolution_most, micros(message.resolution))
            return  # an operator's word
        else:
            if message.kind in TAKING:
                self.members.add(who)
                if self.owner is not None and who != self.owner:
                    self.displaced.add(self.owner)
                self.owner = who
            self.resolution = micros(message.resolution)
            self.resolution_most = max(self.resolution_most, self.resolution)
        if message.declaration is not None and not operators:
            self.declare(message.declaration, a)

    def take(self, message: Message, c: int, a: int, *, new: bool) -> str | None:
        """An accepted message changes the life; what the core has to say at once, if anything."""
        kind = message.kind
        if kind in PROOFS:
            came = new and self.state == "expired" and self.declared.feeders is not Feeders.ANY
            said = self._reborn(c, a) if came else None
            told = self._proof(message, c, a)
            return said or told
        if kind == Kind.DECLARE and new:
            return self._reborn(c, a)
        if kind == Kind.FAIL and self.state in ("waiting", "alive"):
            self.state, self.cause = "expired", "failed"
            return "expired"
        if kind == Kind.RESUME and self.state == "paused":
            self.resume(c, a)
            return "resumed"
        if kind == Kind.EXTEND:
            length = micros(message.args[0])
            if self.state in ("waiting", "alive"):
                self.extended_c = c + length
            self.extended_a = max(self.extended_a, a + length)
        if kind == Kind.RELEASE and message.identity in self.members and self.declared.feeders is Feeders.ANY:
            self.members.discard(message.identity)
            if self.members:
                return None
        if kind in (Kind.RELEASE, Kind.PAUSE):
            was, self.state = self.state, "released"
            if kind == Kind.PAUSE:
                length = micros(message.args[0])
                in_grace = was == "waiting" or (was == "expired" and self.cause == "grace")
                self.unfed = self.unfed if was == "paused" else in_grace
                self.state, self.reported, self.ends_unseen = "paused", False, False
                self.until = (c + length, a + length) if length else None
            return "closed" if was == "expired" else None
        return None

    def _proof(self, message: Message, c: int, a: int) -> str | None:
        moved = False
        if message.kind == Kind.NOTE and message.args[0] is not None and message.args[0] != self.value:
            moved = True
            self.value, self.moved_c, self.moved_a = message.args[0], c, a
        elif message.kind == Kind.NOTE and self.value_unsure:
            self.moved_a = a
        if message.kind == Kind.NOTE and message.args[0] is not None:
            self.value_unsure = False
        was = self.state
        self.unfed = False
        if was == "paused" or (was == "expired" and self.cause == "no-progress" and not moved):
            return None
        self._live(c, a)
        self.extended_a = 0
        return "recovered" if was == "expired" else None

    def _reborn(self, c: int, a: int) -> str | None:
        self.value, self.moved_c, self.moved_a = None, c, a
        if self.state == "paused":
            self.unfed = True
            return None
        was, self.state = self.state, "waiting"
        self.since_c, self.since_a, self.judged_a = c, a, a
        self.extended_c = self.extended_a = 0
        self.reported = False
        return "closed" if was == "expired" else None

    def _live(self, c: int, a: int) -> None:
        self.state = "alive"
        self.since_c, self.since_a, self.judged_a = c, a, a
        self.extended_c = 0
        self.reported = False

    def resume(self, c: int, a: int) -> None:
        """The pause is over: everything has its whole time from here, what was not fed since its start a longer
        grace."""
        began_c = min(c, self.until[0]) if self.ends_unseen and self.until is not None else c
        self._live(began_c, a)
        if self.unfed and self.grace > self.timeout:
            self.state = "waiting"
        self.moved_c, self.moved_a = max(self.moved_c, began_c), max(self.moved_a, a)

    def answers(self, message: Message, cause: str | None) -> bool:
        """Whether this message, had it been read, would have spoken against a verdict of that cause."""
        if not self.listens(message):
            return False
        if message.kind in PROOFS and cause == "no-progress":
            return message.kind == Kind.NOTE and message.args[0] not in (None, self.value)
        if message.kind == Kind.DECLARE:
            return message.identity not in (None, self.owner)
        return message.kind != Kind.EXTEND or cause != "no-progress"

    def earliest(self, cause: str | None) -> int | None:
        """The credited moment before which this verdict is false; None: it is false at any time."""
        if self.state == "waiting" and cause == "grace":
            return max(self.since_c + self.grace, self.extended_c)
        if self.state != "alive":
            return None
        if cause == "timeout":
            return max(self.since_c + self.timeout + self.resolution, self.extended_c)
        if cause == "no-progress" and self.progress is not None:
            return self.moved_c + self.progress + self.resolution
        return None

    def latest(self, spell: Spell | None) -> int | None:
        """The awake moment by which the core has to have said something; None: nothing is owed."""
        if self.state == "expired":
            return None if spell is None else spell.ran_a + self.interval_most + 2 * SLACK
        if self.state == "paused":
            return None if self.until is None else self.until[1] + SLACK
        if self.state == "waiting":
            due = max(self.since_a + self.grace + self.resolution_most, self.extended_a)
        else:
            due = max(self.since_a + self.timeout + self.resolution_most, self.extended_a)
            if self.progress is not None and self.value is not None:
                due = min(due, max(self.moved_a + self.progress + self.resolution_most, self.extended_a))
        return max(due, self.judged_a) + SLACK
