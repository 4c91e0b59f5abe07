"""The oracle: what a watchdog owes and is owed, computed naively and without the core's help.

It keeps two clocks, both in whole microseconds. The *credited* one runs as fast as the design allows a
supervisor's clock to run (a pass earns at most what it asked to wait plus the allowance), so a verdict
before the credited deadline is FALSE. The *awake* one runs only while the host says that the supervisor
and its I/O thread really ran, so a verdict that is not there by the awake deadline is MISSED. There is no
queue, and no deadline is ever stored: it is computed again from the marks of a life whenever it is asked for.

Where the specification leaves a choice, the credited deadline takes the earlier reading, the awake one the
later. What had arrived in the kernel in time counts, read or unread. Late mail that nobody has read yet
neither excuses a worker nor convicts the judge.
"""

from __future__ import annotations

from banken.protocol.messages import Declaration, Kind

from .life import PROOFS, RETURN, Life, Spell, micros
from .mail import SECOND, Finding, Mail, Pass, Told

ROUNDING = 2
"""The core counts in floats, the oracle in microseconds."""

ALLOWANCE, ALLOWANCE_LEAST = SECOND // 10, SECOND // 200
"""What a pass may take beyond its wait before the clock stands still: 0.1 s, or a tenth of the shortest
timeout where that is less, but never less than 5 ms."""

PROBE_MISSED = SECOND // 4 + 2_000
"""A probe that does not come back is sent again after 0.25 s of awake time, and some milliseconds."""

HOLD_CROWDED = 32 * ALLOWANCE_LEAST // 10
"""While more is under way than one read brings, the judge may take 32 trips, each in a pass that counts a tenth."""

LOOK_EVERY = SECOND // 5
"""Awake time between two looks at all lives; whoever is touched is looked at in the same pass."""

ADMITTING = (Kind.FEED, Kind.NOTE, Kind.DECLARE, Kind.FAIL)
"""Kinds that make an unknown name known; for the other kinds the design leaves it to the core."""

STEPS = ("expired", "recovered", "closed", "resumed")
"""What the core says that has to follow from what it read, word for word and in order."""


TEN_YEARS = 315_360_000.0


class Oracle:
    """Judge of the judge: told what arrives, what is read and what the core says; ``findings`` is its word."""

    def __init__(self, defaults: Declaration) -> None:
        self.defaults = defaults
        self.unjudged = defaults._replace(timeout=TEN_YEARS, grace=TEN_YEARS)
        """of a name that nobody gave a timeout and that was never fed: its silence is nothing"""
        self.findings: list[Finding] = []
        self.lives: dict[str, Life] = {}
        self.open: dict[str, Spell] = {}
        self.operators: dict[str, Declaration] = {}
        self.verdicts = 0
        self._used: set[str] = set()
        self._unkept: set[str] = set()
        """what the operator's word alone has made and no pass has ended since"""
        self._unread: dict[str, list[Mail]] = {}
        self._fresh: list[Mail] = []
        self._at = 0
        self._c = self._a = self._looked = self._excused_until = 0
        self._began = 0, 0
        """when the present supervisor began, by the wall's clock and its own"""

    def started(self, at: int, operators: dict[str, Declaration]) -> None:
        """A supervisor that knows only what the operator declares begins its first pass at ``at``."""
        self._at = at
        self._began = at, self._c
        self._unread.clear()
        self._fresh.clear()
        self.open.clear()
        self.operators = dict(operators)
        self._unkept = set(operators)
        self.lives = {name: Life(name, said, self._c, self._a) for name, said in operators.items()}

    def restarted(self, at: int, operators: dict[str, Declaration]) -> None:
        """The next one begins its first pass at ``at``, and knows from a journal what the last one knew at the end
        of its last pass: nobody is convicted for the time between, and open incidents are open."""
        behind = self._at - self._a
        away, lost = at - self._at, (self._at - self._began[0]) - (self._c - self._began[1])
        self._at = at
        self._began = at, self._c
        self._unread.clear()
        self._fresh.clear()
        self.operators = dict(operators)
        left = {name: life for name, life in self.lives.items() if name not in self._unkept}
        self._unkept = set(operators) - set(left)
        for name, said in operators.items():
            if name in left:
                left[name].declare(said, self._a)
            else:  # released before, or never kept: new to this one, and nobody has to come back to it
                self.lives[name] = Life(name, said, self._c, self._a)
        for name, life in left.items():
            life.carried_over(self._c, self._a, at, len(self.lives), behind, away, lost)
            spell = self.open.get(name)
            if spell is not None:  # how often it ran is known by its interval only
                spell.run = None
                spell.due_c, spell.ran_a = self._c + RETURN - life.interval_least, self._a + RETURN

    def arrived(self, mail: Mail) -> None:
        """``mail`` is in the kernel of the supervisor's host, at ``mail.arrived``."""
        self._fresh.append(mail)
        self._unread.setdefault(mail.message.name, []).append(mail)

    def woke(self, done: Pass) -> None:
        """The wait of one pass is over: both clocks move."""
        shortest = min((life.timeout for life in self.lives.values()), default=SECOND)
        allowance = max(ALLOWANCE_LEAST, min(ALLOWANCE, shortest // 10))
        elapsed = done.woke - self._at
        earned = min(elapsed, done.asked + allowance)
        awake = max(0, min(earned, elapsed - done.excused))
        if done.crowded:
            awake = min(awake, ALLOWANCE_LEAST) // 10
            self._excused_until = max(self._excused_until, self._a + HOLD_CROWDED)
        for mail in self._fresh:
            mail.start = self._c + earned - min(earned, done.woke - mail.arrived)
            mail.stop = self._c + min(earned, mail.arrived - self._at)
        self._fresh.clear()
        self._c += earned
        self._a += awake
        self._at = done.woke

    def lost(self) -> None:
        """A probe of the judge's own went astray just now: whatever is due soon may wait until it is missed."""
        self._excused_until = max(self._excused_until, self._a + PROBE_MISSED)

    def judge(self, read: list[Mail], declared: list[tuple[str, Declaration]], told: list[Told]) -> None:
        """One pass is done: what the core read, what the operator then declared, what the core said, in order."""
        self._unkept.clear()
        steps: dict[str, list[str]] = {}
        known = {word.name for word in told if word.what == "declared"}
        closed = {word.name for word in told if word.what == "closed"}
        closed -= {word.name for word in told if word.what == "paused"}  # by the pause
        for mail in read:
            self._read(mail, known, closed, steps)
        for name, said in declared:
            self._declared(name, said)
        runs = {(word.name, word.incident, word.run) for word in told if word.what == "run"}
        for word in told:
            if word.what in ("expired", "callback-repeated") and (word.name, word.incident, word.run) not in runs:
                self._find("broken", word.name, f"{word.what} without a run of the callback")
            if word.what == "callback-repeated":
                self._repeated(word)
            elif word.what in STEPS:
                self._step(word, steps.get(word.name, []))
        for name, left in steps.items():
            for what in left:
                self._find("missed", name, f"{what} was not told")
        if self._a - self._looked >= LOOK_EVERY:
            self._looked = self._a
            for life in self.lives.values():
                self._look(life)

    # What was read.

    def _read(self, mail: Mail, known: set[str], closed: set[str], steps: dict[str, list[str]]) -> None:
        message = mail.message
        name, kind = message.name, message.kind
        waiting = self._unread.get(name, [])
        if mail.left == 0 and mail in waiting:
            waiting.remove(mail)
            if not waiting:
                del self._unread[name]
        life = self.lives.get(name)
        if life is None:
            if kind not in ADMITTING and name not in known:
                return
            said = self.operators.get(name) or message.declaration or self.unjudged
            life = self.lives[name] = Life(name, said, self._c, self._a)
            new = False
            if kind == Kind.FAIL:
                life.owner = message.identity
        else:
            if not life.listens(message):
                return
            self._look(life)
            # Whether the first process ever to declare an operator's watchdog begins a new life is left open.
            first = life.owner is None and name not in closed
            new = message.identity not in (None, life.owner) and not first
            if first and kind == Kind.DECLARE:
                life.since_a = self._a
        if kind in PROOFS and message.declaration is None and life.declared is self.unjudged:
            life.declare(self.defaults, self._a)  # fed, and nobody gave a timeout
        life.hear(message, self._a, operators=name in self.operators)
        start = self._c if mail.start is None else mail.start
        said_next = life.take(message, start, self._a, new=new)
        if kind == Kind.PAUSE:
            life.until_at = self._at + micros(message.args[0])
        elif kind == Kind.EXTEND and life.state in ("waiting", "alive"):
            life.extended_at = self._at + micros(message.args[0])
        if said_next is not None:
            steps.setdefault(name, []).append(said_next)
        if life.state == "released":
            del self.lives[name]

    def _declared(self, name: str, said: Declaration) -> None:
        self.operators[name] = said
        life = self.lives.get(name)
        if life is None:
            self.lives[name] = Life(name, said, self._c, self._a)
        else:
            life.declare(said, self._a)

    # What was said.

    def _step(self, word: Told, steps: list[str]) -> None:
        what, name = word.what, word.name
        if steps and steps[0] == what:
            steps.pop(0)
            if what == "expired":
                if word.cause != "failed":
                    self._find("broken", name, f"failed, and the cause is {word.cause}")
                self._opens(word)
        elif what == "resumed":
            self._resumed(word)
            return
        elif what == "expired":
            self._verdict(word)
        else:
            self._find("doubled", name, f"{what}, and nothing was read that asks for it")
        if what in ("recovered", "closed"):
            spell = self.open.pop(name, None)
            if spell is None or spell.id != word.incident:
                self._find("doubled", name, f"{what} {word.incident}, which is not open")

    def _verdict(self, word: Told) -> None:
        name = word.name
        life = self.lives.get(name)
        due = None if life is None else life.earliest(word.cause)
        missing = self._c
        if life is not None:
            for mail in self._unread.get(name, ()):
                if mail.stop is not None and life.answers(mail.message, word.cause):
                    missing = min(missing, mail.stop)
        if due is None:
            state = "unknown" if life is None else life.state
            self._find("false", name, f"{word.cause} while it is {state}")
        elif missing < due - ROUNDING:
            self._find("false", name, f"{word.cause} {(due - missing) / SECOND:.6f} s too early")
        if life is not None:
            self._look(life)
            life.state, life.cause = "expired", word.cause
        self._opens(word)

    def _opens(self, word: Told) -> None:
        name, incident = word.name, word.incident
        self.verdicts += 1
        if name in self.open:
            self._find("doubled", name, f"{incident} opened while {self.open[name].id} is")
        if incident is None or incident in self._used:
            self._find("doubled", name, f"the id {incident} again")
        else:
            self._used.add(incident)
        life = self.lives.get(name)
        self.open[name] = Spell(incident, word.run, self._c, self._a)
        if life is not None:
            life.ran()

    def _repeated(self, word: Told) -> None:
        spell, life = self.open.get(word.name), self.lives.get(word.name)
        if spell is None or life is None or spell.id != word.incident:
            self._find("doubled", word.name, f"repeat of {word.incident}, which is not open")
            return
        due = spell.due_c + life.interval_least
        if self._c < due - ROUNDING:
            self._find("doubled", word.name, f"run {word.run} came {(due - self._c) / SECOND:.6f} s too early")
        if spell.run is not None and word.run != spell.run + 1:
            self._find("doubled", word.name, f"run {word.run} after run {spell.run}")
        self._look(life)
        spell.run, spell.due_c, spell.ran_a = word.run, due, self._a
        life.ran()

    def _resumed(self, word: Told) -> None:
        life = self.lives.get(word.name)
        if life is None or life.state != "paused" or life.until is None:
            self._find("broken", word.name, "resumed, and nobody asked for it")
            return
        if self._c < life.until[0] - ROUNDING:
            self._find("broken", word.name, "resumed before the pause was over")
        self._look(life)
        life.resume(min(life.until[0], self._c), self._a)

    def _look(self, life: Life) -> None:
        """Is something owed by now?"""
        due = life.latest(self.open.get(life.name))
        if due is not None and self._a > max(due, self._excused_until) and not life.reported:
            life.reported = True
            self._find("missed", life.name, f"{life.state}, and {(self._a - due) / SECOND:.6f} s late")

    def _find(self, kind: str, name: str, why: str) -> None:
        self.findings.append(Finding(kind, self._at, name, why))
