"""All watchdogs: what arrives changes them, what is due becomes a verdict.

The way of a feed: ``intake`` looks its bytes up in ``_known`` and stores the time. That is all, because
``_known`` holds only the plain feeds of watchdogs that are ALIVE and need nothing else. Whatever is not
known (the first feed, a feed that ends an incident, every other message) is decoded and goes to ``tell``.
A watchdog that leaves ALIVE is taken out of ``_known``, so that its next feed is looked at again.

The way of a verdict: ``sweep`` takes what has come up in the queue and arms again whoever was fed; the
rest are suspects. ``judge`` turns suspects into verdicts; when that may be done is decided by hold.py.

The kennel is a house of floors, each a class: records (roll.py), when feeds came (trail.py), incidents and climbs
(incidents.py), the processes behind them (keeping.py), groups (groups.py), what is in force and how feeds usually
come (habits.py), maintenance (windows.py), restarts (restoring.py), and here what arrives and what is due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from math import inf
from typing import Any

from banken.errors import WireError
from banken.model import Cause, Declaration, Feeders
from banken.wire import Kind, Message, decode
from banken_supervisor.core import ownership
from banken_supervisor.core.dog import Dog, deadline
from banken_supervisor.core.effects import Effect, Event, EventType
from banken_supervisor.core.policy import Policy
from banken_supervisor.core.refusals import Refusal, Refusals
from banken_supervisor.core.restoring import Restoring
from banken_supervisor.core.rules import Rules
from banken_supervisor.core.states import State, Trigger
from banken_supervisor.core.telling import declared, pid_of

WATCHDOGS_MAX = 2_000_000
"""Names watched at once; the next one is refused."""

FAULTY_AGAIN_S = 1.0
"""Seconds until a watchdog is looked at again at which looking raised something."""

LONG_READS_MAX = 100_000
"""Long reads that are remembered, the newest."""

_FAST = (Kind.FEED, Kind.NOTE)
_OF_A_GROUP = (Kind.PAUSE, Kind.RESUME)


def _raise(name: str, fault: Exception) -> None:
    raise fault


class Kennel(Restoring):
    """Every watchdog of one supervisor. ``now`` is deadline time, in seconds, and never goes back.

    ``run_id`` makes incident ids unique among all runs of all supervisors; ``probe_token`` marks the
    supervisor's own probes; ``jitter`` gives numbers in [0, 1) for backoff. Effects are appended to the ``out``
    that the caller gives.
    """

    def __init__(
        self, rules: Rules, run_id: str, probe_token: bytes = b"", jitter: Callable[[], float] = lambda: 0.5
    ) -> None:
        super().__init__(run_id, jitter)
        self.rules = rules
        self.refusals = Refusals()
        self.decoded_bytes = 0
        """bytes of all messages that had to be decoded"""
        self.probe_seen: int | None = None
        """number of the last probe that came back; the caller resets it"""
        self.fault: Callable[[str, Exception], None] = _raise
        """told of the watchdog at which looking failed, and what was raised"""
        self._probe_token = probe_token
        self._long_reads: dict[float, float] = {}

    # -- what arrives -------------------------------------------------------------------------------

    def intake(self, frames: Iterator[bytes], now: float, out: list[Effect]) -> None:
        """Take every frame of ``frames``, all counted as arriving ``now``.

        An exception that ``frames`` raises passes through; what came before it has been taken.
        """
        if self._trailing:
            if self.leisure > 0:
                left = self._at_leisure(frames, now, out)
                if left is None:
                    return
                frames = left
            self._hole(now)
        known = self._known.__getitem__
        while True:
            try:
                for dog in map(known, frames):
                    dog.fed_at = now
            except KeyError as miss:  # not known by its bytes: the only thing in here that raises KeyError
                frame = miss.args[0]
            else:
                return
            self.take(frame, now, out)

    def take(self, frame: bytes, now: float, out: list[Effect]) -> Refusal | None:
        """Decode and take one frame; the refusal, if it was refused (it is counted already)."""
        self.decoded_bytes += len(frame)
        try:
            message = decode(frame)
        except WireError as fault:
            return self._refuse(Refusal(fault.reason, str(fault)), now, out)
        share = self._share
        message = message._replace(
            incarnation=share(message.incarnation),
            resolution=share(message.resolution),
            declaration=share(message.declaration),
        )
        return self.tell(message, now, out, frame)

    def tell(self, message: Message, now: float, out: list[Effect], frame: bytes | None = None) -> Refusal | None:
        """Take one message; the refusal, if it was refused (it is counted already)."""
        if message.kind is Kind.PROBE:
            token, number = message.args
            if token != self._probe_token:
                return self._refuse(Refusal("probe", "probes are the supervisor's own"), now, out)
            self.probe_seen = number
            return None
        dog = self._dogs.get(message.name)
        if dog is None:
            admitted = self._admit(message, now, out)
            if isinstance(admitted, Refusal):
                # To release or resume what is not watched asks for what is so already: no event.
                quiet = message.kind in (Kind.RELEASE, Kind.RESUME)
                return self._refuse(admitted, now, [] if quiet else out, message.name)
            dog = admitted
        elif dog.rare is not None and dog.rare.standing is not None and message.kind not in _OF_A_GROUP:
            text = f"{dog.name!r} is a group: its members are fed, failed and released, never the group itself"
            return self._refuse(Refusal("group", text), now, out, dog.name)
        refusal = self._check_owner(dog, message, now, out)
        if refusal is not None:
            return refusal
        if message.declaration is not None or message.incarnation is not None:
            self._update_declaration(dog, message, out)
        _ACTIONS[message.kind](self, dog, message, now, out)
        if (
            message.kind is Kind.FEED and dog.state is State.ALIVE and frame is not None
            and not self._looked_at(dog)
        ):  # fmt: skip
            self._learn(dog, frame)
        return None

    def declare(self, name: str, word: Declaration | Policy, now: float, out: list[Effect]) -> Refusal | None:
        """The operator's word on one name, in force at once and over every worker's."""
        self.rules.declare(name, word)
        if (dog := self._dogs.get(name)) is not None:
            self._obey(dog)
        return self.expect(name, now, out)

    def expect(self, name: str, now: float, out: list[Effect]) -> Refusal | None:
        """Watch this name by the rules from now on, fed or not."""
        if name in self._dogs:
            return None
        admitted = self._admit(Message(Kind.DECLARE, name, None, 0.0, None), now, out)
        return self._refuse(admitted, now, out, name) if isinstance(admitted, Refusal) else None

    def reconsider(self) -> None:
        """The rules have changed: apply them to every watchdog there is. No timer is lost."""
        for dog in self._dogs.values():
            if dog.operator or self.rules.operators(dog.name) is not None:
                self._obey(dog)

    def forget(self, name: str, now: float, out: list[Effect], how: str = "released") -> None:
        """Watch this one no longer, and take back the operator's word on it. ``how``: what ends its incident."""
        self.rules.forget(name)
        if (dog := self._dogs.get(name)) is not None:
            self._discard(dog, now, out, how)

    def _discard(self, dog: Dog, now: float, out: list[Effect], how: str = "released") -> None:
        self._close(dog, now, out, EventType.CLOSED, how)
        self._release(dog, Message(Kind.RELEASE, dog.name, None, 0.0, None), now, out)

    # -- what is due --------------------------------------------------------------------------------

    def read_long(self, stamp: float, seconds: float) -> None:
        """What was stamped ``stamp`` may have arrived so much later: reading it all took that long."""
        self._long_reads[stamp] = seconds
        if len(self._long_reads) > LONG_READS_MAX:
            for old in list(islice(self._long_reads, LONG_READS_MAX // 2)):
                del self._long_reads[old]

    def _later(self, dog: Dog) -> float:
        """How much later than its stamp its last feed may have arrived, seconds."""
        return self._long_reads.get(dog.fed_at, 0.0) if self._long_reads else 0.0

    def sweep(self, now: float) -> bool:
        """Arm again whoever was fed meanwhile. True: someone is left, and ``judge`` must be called."""
        for dog in self._deadlines.pop_due(now):
            try:
                self._sweep_one(dog, now)
            except Exception as fault:  # noqa: BLE001  # of this watchdog alone
                self._faulty(dog, fault, now)
        return bool(self._suspects)

    def _sweep_one(self, dog: Dog, now: float) -> None:
        self._settle(dog, now)
        due = deadline(dog)
        if due is None:
            return
        if due + self._later(dog) > now:
            self._deadlines.arm(dog, due + self._later(dog))
            self._sample(dog)
        else:
            self._suspects.append(dog)

    def judge(self, horizon: float, now: float, out: list[Effect], limit: int = 1000) -> bool:
        """Verdicts on all suspects that were due by ``horizon``, at most ``limit``. True: some are left."""
        for _ in range(min(limit, len(self._suspects))):
            dog = self._suspects.popleft()
            try:
                self._judge_one(dog, horizon, now, out)
            except Exception as fault:  # noqa: BLE001  # of this watchdog alone
                self._faulty(dog, fault, now)
        return bool(self._suspects)

    def _judge_one(self, dog: Dog, horizon: float, now: float, out: list[Effect]) -> None:
        due = deadline(dog)
        if due is None:
            return
        if due + self._later(dog) > horizon:
            self._deadlines.arm(dog, due + self._later(dog))
        elif dog.state is State.PAUSED:
            self._resume(dog, Trigger.DEADLINE, now, out)
        else:
            self._verdict(dog, due, now, out)

    def _faulty(self, dog: Dog, fault: Exception, now: float) -> None:
        """Looking at this one failed: the others are judged, and it is looked at again a little later."""
        self._deadlines.arm(dog, now + FAULTY_AGAIN_S)
        self.fault(dog.name, fault)

    # -- messages, one method a kind ----------------------------------------------------------------

    def _feed(self, dog: Dog, message: Message, now: float, out: list[Effect]) -> None:
        fast = self._too_fast(dog, now)
        self._observe(dog, now, out)
        rare = dog.rare
        if rare is not None:
            self._end_extension(dog)
            if dog.declaration.progress_timeout is not None and rare.progress_at is None:
                rare.progress_at = now
        if dog.state is State.PAUSED or self._persists(dog, now):
            dog.fed_at = now
            return
        if rare is not None and (rare.incident is not None or rare.given_up is not None):
            self._close(dog, now, out, EventType.RECOVERED, "fed")
        before = dog.state
        self._move(dog, Trigger.FEED)
        dog.fed_at = now
        if before is State.WAITING:
            out.append(Event(EventType.FIRST_FED, dog.name, pid_of(dog)))
        if fast and before is State.ALIVE:
            assert dog.policy is not None
            reason = f"fed more often than once in {dog.policy.min_interval:g} s"
            self._open(dog, Cause.TOO_FAST, now, now, out, reason)
        else:
            self._arm(dog)

    def _note(self, dog: Dog, message: Message, now: float, out: list[Effect]) -> None:
        progress, status = message.args
        rare = dog.more()
        if status is not None:
            rare.status = status
        if progress is not None and (progress != rare.progress or rare.progress_at is None):
            rare.progress = progress
            rare.progress_at = now
        self._feed(dog, message, now, out)

    def _declared(self, dog: Dog, message: Message, now: float, out: list[Effect]) -> None:
        """The watchdog is known by now; a declaration is no feed and changes nothing more."""

    def _release(self, dog: Dog, message: Message, now: float, out: list[Effect]) -> None:
        self._close(dog, now, out, EventType.CLOSED, "released")
        self._unlearn(dog)
        self._move(dog, Trigger.RELEASE)
        self.states[State.RELEASED] -= 1
        self._deadlines.disarm(dog)
        del self._dogs[dog.name]
        self._count_trails()
        out.append(Event(EventType.RELEASED, dog.name))

    def _fail(self, dog: Dog, message: Message, now: float, out: list[Effect]) -> None:
        reason = message.args[0]
        if dog.state in (State.WAITING, State.ALIVE):
            self._open(dog, Cause.FAILED, now, now, out, reason)
            return
        self._move(dog, Trigger.FAIL)
        data: dict[str, Any] = {"reason": reason}
        if dog.rare is not None and dog.rare.incident is not None:
            data["incident"] = dog.rare.incident.id
        out.append(Event(EventType.FAILED, dog.name, data))

    def _pause(self, dog: Dog, message: Message, now: float, out: list[Effect]) -> None:
        seconds = message.args[0]
        dog.more().maintained = False
        self._close(dog, now, out, EventType.CLOSED, "paused")
        self._unlearn(dog)
        self._move(dog, Trigger.PAUSE)
        dog.more().paused_until = now + seconds if seconds else inf
        self._note_change(dog)
        self._arm(dog)
        out.append(Event(EventType.PAUSED, dog.name, {"seconds": seconds or None}))

    def _resumed(self, dog: Dog, message: Message, now: float, out: list[Effect]) -> None:
        if dog.state is State.PAUSED:
            self._resume(dog, Trigger.RESUME, now, out)
        else:
            self._move(dog, Trigger.RESUME)

    def _extend(self, dog: Dog, message: Message, now: float, out: list[Effect]) -> None:
        if dog.state in (State.WAITING, State.ALIVE):
            self._unlearn(dog)  # the next feed must be looked at: it ends the extension
            dog.more().extended_until = now + message.args[0]
            self._note_change(dog)
            out.append(Event(EventType.EXTENDED, dog.name, {"seconds": message.args[0]}))

    # -- the parts they share -----------------------------------------------------------------------

    def _admit(self, message: Message, now: float, out: list[Effect]) -> Dog | Refusal:
        """A record for a name that is not watched yet."""
        name = message.name
        if message.kind in (Kind.RELEASE, Kind.RESUME):
            return Refusal("unknown", f"no watchdog is called {name!r}")
        operators = self.rules.operators(name)
        rules = operators is not None and not operators.yields
        said = None if operators is None else operators.declaration
        declaration = (said if rules else message.declaration or said) or self.rules.defaults
        if declaration is None:
            return Refusal("undeclared", f"nobody declared {name!r}, and undeclared names are refused here")
        if len(self._dogs) >= WATCHDOGS_MAX:
            return Refusal("full", f"{WATCHDOGS_MAX} watchdogs are kept already")
        dog = Dog(name, declaration, message.resolution, now, operator=rules)
        dog.policy = operators
        dog.owner = message.incarnation
        self._dogs[name] = dog
        self._count_trails()
        self._note_change(dog)
        self._enrol(dog)
        self._belongs(dog, dog.owner, out)
        self.states[State.WAITING] += 1
        self.shortest_timeout = min(self.shortest_timeout, declaration.timeout, declaration.grace)
        self._arm(dog)
        out.append(
            declared(dog, "operator" if said is declaration else "worker" if message.declaration else "defaults")
        )
        self._maintain_new(dog, now, out)
        return dog

    def _check_owner(self, dog: Dog, message: Message, now: float, out: list[Effect]) -> Refusal | None:
        who = message.incarnation
        if dog.declaration.feeders is Feeders.ANY or who is None:
            return None
        claim = ownership.claim(dog, who)
        if claim is ownership.Claim.OWNER:
            return None
        if claim is ownership.Claim.NEWCOMER:
            newborn = dog.owner is not None
            ownership.take_over(dog, who)
            self._note_change(dog)
            self._belongs(dog, who, out)
            self._new_feeder(dog)
            if dog.rare is not None:
                dog.rare.exited_at = None  # it is another process that has ended
            if newborn:
                self._unlearn(dog)
                if message.kind is Kind.DECLARE:
                    self._reborn(dog, now, out)
            return None
        ownership.displace(dog, who)
        if dog.owner is None:
            text = f"the process {who.pid} of {dog.name!r} was taken down; what it says late is out of date"
            return self._refuse(Refusal("contest", text), now, [], dog.name)
        rare = dog.more()
        if not rare.contested and message.kind in _FAST:
            rare.contested = True
            data = {"pid": dog.owner.pid, "refused_pid": who.pid}
            out.append(Event(EventType.CONTEST, dog.name, data))
        text = (
            f"{dog.name!r} belongs to the newer process {dog.owner.pid}; "
            f"declare feeders='any' to let several processes feed it"
        )
        return self._refuse(Refusal("contest", text), now, out, dog.name)

    def _obey(self, dog: Dog) -> None:
        """What the operator says of this one now; nothing any more: the declaration stays, the ladder goes."""
        if dog.rare is not None and dog.rare.standing is not None:
            return  # set_groups speaks for it
        before, policy = dog.policy, self.rules.operators(dog.name)
        dog.policy = policy
        self._climb_on(dog, before)
        self._maintain_anew(dog, before)
        operator = policy is not None and not policy.yields
        if operator != dog.operator:
            dog.operator = operator
            self._note_change(dog)
        if self._looked_at(dog):
            self._unlearn(dog)
        if policy is not None and dog.operator and self._in_force(dog) != dog.declaration:
            self._unlearn(dog)
            self._redeclare(dog, self._in_force(dog), dog.resolution)
        self._arm(dog)

    def _refuse(self, refusal: Refusal, now: float, out: list[Effect], name: str | None = None) -> Refusal:
        event = self.refusals.note(refusal, now, name)
        if event is not None:
            out.append(event)
        return refusal


_ACTIONS = {
    Kind.FEED: Kennel._feed,
    Kind.DECLARE: Kennel._declared,
    Kind.RELEASE: Kennel._release,
    Kind.FAIL: Kennel._fail,
    Kind.PAUSE: Kennel._pause,
    Kind.RESUME: Kennel._resumed,
    Kind.EXTEND: Kennel._extend,
    Kind.NOTE: Kennel._note,
}
