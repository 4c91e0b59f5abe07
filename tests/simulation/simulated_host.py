"""The simulated host: a supervisor's host with its kernel, I/O thread and loop, in virtual microseconds.

A message goes worker -> kernel buffer -> I/O thread -> queue of its connection -> loop. The I/O thread serves
ready connections in turn, at most 8,192 bytes each; the loop reads the queues in turn, one message each, and
while it reads the I/O thread goes on. Both stop together in a stall; the I/O thread can be starved alone.
Events happen in the order of a heap, so quiet hours cost nothing but the loop's own waking.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from banken_supervisor.engine.driver import WAIT_MAX, Driver
from banken_supervisor.engine.effects import Event, RunCallback, RunStep
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.waiting import Waiting
from snapshot_kit import Shelf

from .life import PROOFS
from .mail import SECOND, Connection, Finding, Mail, Pass, Told
from .oracle import Oracle

TOKEN = b"token"
READ_BYTES = 8_192
"""What the I/O thread takes from one connection before it serves the next."""
KERNEL_BYTES = 200_000
"""What the kernel holds of one connection; beyond that the sender's queue is full and its feeds are dropped."""
QUEUE_MAX = 10_000
"""Messages that one connection may have between I/O thread and loop."""
FRAMES_PER_TURN = 10_000
NAP = 1_000
"""While feeds keep coming, the loop reads them once per nap."""
CROWD = 20
"""Messages in the last few turns above which a single read may not have brought everything."""
TRACE_KEPT = 400


class Parts(NamedTuple):
    """What the host is built of; the planted faults exchange one part."""

    driver: type[Driver] = Driver
    engine: type[Engine] = Engine


class PutOff:
    """What the core reads and puts off (waiting.py): which of the processes that speak goes first is left to it.
    But what one process says keeps its order."""

    def __init__(self, waiting: Waiting, broken: Callable[[str], None]) -> None:
        self._waiting, self._broken = waiting, broken
        self._mails: dict[bytes, deque[tuple[int, Mail]]] = {}
        """by their bytes, with which message of all that was"""
        self._words: Counter[tuple[ProcessIdentity | None, str]] = Counter()
        """how many wait, by who speaks and of what"""
        self._last: dict[ProcessIdentity | None, int] = {}
        self._number = 0
        self._taken: list[bytes] = []
        self._take, waiting.take = waiting.take, self._next  # type: ignore[method-assign]

    def noting(self, mails: Iterator[Mail], read: list[Mail]) -> Iterator[bytes]:
        """The bytes of ``mails``; what the core takes at once is in ``read``."""
        for mail in mails:
            size = self._waiting.size
            yield mail.frame
            message = mail.message
            if message.kind == Kind.PROBE:
                continue
            word = message.identity, message.name
            if self._waiting.size > size:
                self._number += 1
                self._words[word] += 1
                self._mails.setdefault(mail.frame, deque()).append((self._number, mail))
            else:
                if self._words[word]:
                    self._broken(f"{message.name}: what was said later is taken first")
                read.append(mail)

    def taken(self, read: list[Mail]) -> None:
        """Add to ``read`` what was put off, in this turn or before, and is taken in this one."""
        for frame in self._taken:
            number, mail = self._mails[frame].popleft()
            who = mail.message.identity
            self._words[who, mail.message.name] -= 1
            if number < self._last.get(who, 0):
                self._broken(f"{mail.message.name}: what was said earlier is taken after")
            self._last[who] = number
            read.append(mail)
        self._taken.clear()

    def _next(self) -> Any:
        found = self._take()
        if found is not None:
            self._taken.append(found[0])
        return found


def _without_copies(read: list[Mail]) -> list[Mail]:
    """Copies that would change nothing are left out: no other word than a proof of life was read since."""
    left: list[Mail] = []
    seen: set[Mail] = set()
    for mail in read:
        if mail not in seen:
            left.append(mail)
            if mail.message.kind not in PROOFS:
                seen.clear()
            seen.add(mail)
    return left


class SimulatedHost:
    """One host for some hours. ``seed`` decides everything that happens in it."""

    def __init__(self, seed: int, defaults: Declaration, parts: Parts = Parts()) -> None:  # noqa: B008
        self.random = random.Random(seed)
        self.at = 0
        self.heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self.oracle = Oracle(defaults)
        self.operators: dict[str, Declaration] = {}
        self.defaults = defaults
        self.wall_offset = 0.0
        """seconds; the core has no wall clock, so nothing but a planted fault looks at it"""
        self.up = False
        self.lives = 0
        self.counts = dict.fromkeys(("messages", "stalls", "restarts", "turns", "probes_lost", "overloads"), 0)
        self.trace: deque[str] = deque(maxlen=TRACE_KEPT)
        self._digest = hashlib.sha256()
        self._lines: list[str] = []
        self._parts = parts
        self.remembers = random.Random(f"memory {seed}").random() < 0.5
        """whether the supervisors of this night have a journal"""
        self._shelf = Shelf()
        self._tie = 0
        self._connections: list[Connection] = []
        self._own = Connection()
        self._reset_io()
        self._reading = self._asleep = False
        self.started_at = 0
        self.stalled_until = self.starved_until = 0
        self.io_stopped_until = self._io_stopped_from = 0

    # Time.

    def after(self, delay: int, what: Callable[..., None], *args: Any) -> None:
        """``what(*args)`` happens ``delay`` microseconds from now."""
        self._tie += 1
        heapq.heappush(self.heap, (self.at + delay, self._tie, what, args))

    def run(self, until: int) -> None:
        """Let happen what happens up to ``until``."""
        self._happen(until)
        self.at = until

    def _happen(self, until: int) -> None:
        heap = self.heap
        while heap and heap[0][0] <= until:
            at, _, what, args = heapq.heappop(heap)
            if at > self.at:
                self.at = at
            what(*args)

    def note(self, line: str) -> None:
        """One line of the trace."""
        line = f"{self.at / SECOND:.6f} {line}"
        self.trace.append(line)
        self._lines.append(line)
        if len(self._lines) >= 1000:
            self._digest.update("\n".join(self._lines).encode())
            self._lines.clear()

    def fingerprint(self) -> str:
        """A digest of everything that happened."""
        self._digest.update("\n".join(self._lines).encode())
        self._lines.clear()
        return self._digest.hexdigest()

    def reading(self) -> float:
        """What the shell gives the core as the monotonic clock, seconds."""
        return self.at / SECOND

    # The supervisor's life and its troubles.

    def start(self) -> None:
        """A supervisor starts. It knows what the operator declares and, with a journal, what the last one left."""
        self.lives += 1
        rules = Rules(self.defaults)
        engine = self._parts.engine(rules, f"run{self.lives}", TOKEN)
        self._put_off = PutOff(engine.waiting, self._broken)
        self.driver = self._parts.driver(engine, self.reading())
        self._passed = self._woken = self.at
        self._asked = 0
        self._excused = 0
        self._dense = False
        self._recent: deque[int] = deque([0] * 5, maxlen=5)
        self._crowded = False
        self._reset_io()
        if self.remembers:
            engine.table.tracks_changes = True
        for name, said in self.operators.items():
            engine.declare(name, said, self.driver.now, self.driver.out)
        if self.remembers and self.lives > 1:
            self.oracle.restarted(self.at, self.operators)
            engine.restore(self._shelf.left(self.reading()), self.driver.now, self.driver.out)
        else:
            self.oracle.started(self.at, self.operators)
        self._letters: list[tuple[str, Declaration]] = []
        self.up, self.started_at = True, self.at
        self.note(f"start {self.lives}")
        self._wait()

    def kill(self, down: int) -> None:
        """kill -9; a new supervisor starts ``down`` microseconds later."""
        if not self.up:
            return
        if self._reading:
            self.after(1_000, self.kill, down)
            return
        self.up = False
        self.counts["restarts"] += 1
        self.stalled_until = self.starved_until = self.io_stopped_until = 0
        self._reset_io()
        for connection in self._connections:
            connection.kernel.clear()
            connection.queue.clear()
            connection.bytes = connection.queued = 0
            connection.ready = False
        self.note("kill -9")
        self.after(down, self.start)

    def stall(self, length: int) -> None:
        """SIGSTOP for ``length`` microseconds: loop and I/O thread stand still."""
        if self.up:
            self.counts["stalls"] += 1
            self.stalled_until = max(self.stalled_until, self.at + length)
            self._stop_io(length)
            self.note(f"stall {length}")

    def starve(self, length: int) -> None:
        """For ``length`` microseconds the loop gets the processor late every time."""
        self.starved_until = self.at + length
        self.note(f"starved {length}")

    def starve_io(self, length: int) -> None:
        """The I/O thread alone stands still for ``length`` microseconds."""
        if self.up and self.at >= self.io_stopped_until:
            self._stop_io(length)
            self.note(f"io starved {length}")

    def _stop_io(self, length: int) -> None:
        if self.at > self.io_stopped_until:
            self._excused += self._io_stopped(self._passed, self.at)
            self._io_stopped_from = self.at
        self.io_stopped_until = max(self.io_stopped_until, self.at + length)

    def _io_stopped(self, since: int, until: int) -> int:
        """For how long the I/O thread last stood still between two moments."""
        return max(0, min(until, self.io_stopped_until) - max(since, self._io_stopped_from))

    def declare(self, name: str, said: Declaration) -> None:
        """The operator declares ``name`` in the running supervisor."""
        self.operators[name] = said
        if self.up:
            self.note(f"operator declares {name} {said.timeout}")
            self._letters.append((name, said))
            if self._asleep:
                self._asleep = False
                self._alarm(self.at + 50)

    # Kernel and I/O thread.

    def connect(self) -> Connection:
        """A new connection to the feed socket."""
        self._connections.append(Connection())
        return self._connections[-1]

    def arrive(self, connection: Connection, mail: Mail) -> bool:
        """``mail`` reaches the kernel now; False when there is no room or no supervisor for it."""
        if not self.up or connection.bytes + mail.size * mail.left > KERNEL_BYTES:
            return False
        mail.arrived = self.at
        if connection is not self._own:
            self.oracle.arrived(mail)
        connection.kernel.append([mail, mail.left])
        connection.bytes += mail.size * mail.left
        self._make_ready(connection)
        return True

    def _reset_io(self) -> None:
        self._io_ready: deque[Connection] = deque()
        self._io_busy = False
        self._own = Connection()
        self._full: list[Connection] = []
        """connections in the order in which the loop reads them"""

    def _make_ready(self, connection: Connection) -> None:
        if not connection.ready and connection.queued < QUEUE_MAX:
            connection.ready = True
            self._io_ready.append(connection)
            if not self._io_busy:
                self._io_busy = True
                self.after(self.random.randint(15, 60), self._serve, self.lives)

    def _serve(self, life: int) -> None:
        """The I/O thread reads once from the connection whose turn it is."""
        if life != self.lives or not self.up:
            return
        if self.io_stopped_until > self.at:
            self.after(self.io_stopped_until - self.at + self.random.randint(0, 200), self._serve, life)
            return
        connection = self._io_ready.popleft()
        connection.ready = False
        moved, room = 0, READ_BYTES
        while connection.kernel and connection.queued < QUEUE_MAX:
            parcel = connection.kernel[0]
            mail = parcel[0]
            copies = min(parcel[1], max(1, room // mail.size), QUEUE_MAX - connection.queued)
            if moved and mail.size > room:
                break
            if not connection.queue:
                self._full.append(connection)
            connection.queue.append([mail, copies])
            connection.queued += copies
            parcel[1] -= copies
            moved += copies
            room -= copies * mail.size
            connection.bytes -= copies * mail.size
            if not parcel[1]:
                connection.kernel.popleft()
        if connection.kernel:
            self._make_ready(connection)
        if self._io_ready:
            self.after(5 + moved // 4, self._serve, life)
        else:
            self._io_busy = False
        if self._asleep and moved:
            self._asleep = False
            self._alarm(self.at + self.random.randint(10, 50))

    # The loop.

    def _wait(self) -> None:
        """The loop asks how long it may wait, and waits."""
        seconds = self.driver.patience()
        if not 0.0 <= seconds <= WAIT_MAX:
            self._broken(f"asks to wait {seconds} s")
        asked = round(seconds * SECOND)
        if self._dense:
            asked = min(asked, NAP)
        self._asked = asked
        self._asleep = False
        if self._full and not self._dense:
            self._alarm(self.at)
            return
        self._asleep = not self._dense
        self._alarm(self.at + (asked + 999) // 1000 * 1000 if asked else self.at)

    def _alarm(self, at: int) -> None:
        self._tie += 1
        self._due = self._tie
        heapq.heappush(self.heap, (at, self._tie, self._wake, (self._tie, at)))

    def _wake(self, alarm: int, meant: int) -> None:
        if alarm != self._due or not self.up:
            return
        if self.stalled_until > self.at:
            late = self.stalled_until - self.at + self.random.randint(0, 200)
        elif self.starved_until > self.at and meant == self.at:
            late = self.random.randint(0, 50_000)
        else:
            self._excused += self.at - meant - self._io_stopped(meant, self.at)
            self._turn()
            return
        self._asleep = False
        heapq.heappush(self.heap, (self.at + late, alarm, self._wake, (alarm, meant)))

    def _turn(self) -> None:
        """One pass of the loop, in the order of the shell's."""
        driver, oracle = self.driver, self.oracle
        self._due, self._asleep = -1, False
        started = self.at
        self.counts["turns"] += 1
        excused = self._excused + self._io_stopped(self._passed, started)
        self._excused = 0
        oracle.woke(Pass(started, self._asked, excused, self._crowded))
        self._passed = started
        driver.wake(self.reading(), self._asked / SECOND)
        read: list[Mail] = []
        self._reading, self._read_count = True, 0
        driver.read(self._put_off.noting(self._frames(), read))
        self._reading = False
        count = self._read_count
        self.counts["messages"] += count
        complete = count < FRAMES_PER_TURN
        driver.drained(count, complete)
        self._put_off.taken(read)
        self.counts["overloads"] += not complete
        self._recent.append(count)
        self._crowded = not complete or sum(self._recent) > CROWD
        self._dense = count > 0 and complete and started - self._woken <= 2 * NAP and not driver.barrier.waiting
        self._woken = started
        letters, self._letters = self._letters, []
        for name, said in letters:
            driver.engine.declare(name, said, driver.now, driver.out)
        probe = driver.decide()
        if self.remembers:
            self._shelf.put(driver.engine, driver.out, driver.now, self.reading())
        told = self._told()
        oracle.judge(_without_copies(read), letters, told)
        if told:
            self.note(" ".join(f"{word.what}:{word.name}:{word.incident}:{word.run}" for word in told))
        if count or probe is not None:
            self.note(f"turn asked {self._asked} read {count} probe {probe} {driver.now:.6f}")
        self.at = max(self.at, started + 15 + count)
        if probe is not None:
            self._send_probe(probe)
        self._wait()

    def _send_probe(self, number: int) -> None:
        if self.random.random() < 0.001:
            self.counts["probes_lost"] += 1
            self.oracle.lost()
            return
        message = Message(Kind.PROBE, "banken", None, 0.0, None, (TOKEN, number))
        self.after(self.random.randint(5, 20), self._probe_arrives, self.lives, Mail(message, encode(message)))

    def _probe_arrives(self, life: int, mail: Mail) -> None:
        if life == self.lives:
            self.arrive(self._own, mail)

    def _frames(self) -> Iterator[Mail]:
        """What one turn reads: the queues in turn; the I/O thread goes on meanwhile."""
        started, count = self.at, 0
        while count < FRAMES_PER_TURN:
            if not self._full or count % 64 == 63:
                self._happen(started + count)
            if not self._full:
                break
            connection = self._full.pop(0)
            parcel = connection.queue[0]
            mail = parcel[0]
            parcel[1] -= 1
            connection.queued -= 1
            mail.left -= 1
            if not parcel[1]:
                connection.queue.popleft()
            if connection.queue:
                self._full.append(connection)
            if connection.queued == QUEUE_MAX // 2 and connection.kernel:
                self._make_ready(connection)
            count += 1
            self._read_count = count
            yield mail

    def _told(self) -> list[Told]:
        told = []
        for effect in self.driver.out:
            if isinstance(effect, RunStep) and effect.beginning is not None:
                effect = effect.beginning
            if isinstance(effect, RunCallback):
                told.append(Told("run", effect.name, effect.incident, effect.cause.value, effect.run))
            elif isinstance(effect, Event) and effect.name is not None:
                data = effect.data
                told.append(
                    Told(effect.type.value, effect.name, data.get("incident"), data.get("cause"), data.get("run"))
                )
        self.driver.out.clear()
        if told:
            engine = self.driver.engine
            states: dict[Any, int] = {}
            for record in engine.table:
                states[record.state] = states.get(record.state, 0) + 1
            if states != {state: number for state, number in engine.table.states.items() if number}:
                self._broken(f"states are {states}, counted were {dict(engine.table.states)}")
        return told

    def _broken(self, why: str) -> None:
        self.oracle.findings.append(Finding("broken", self.at, "", why))
