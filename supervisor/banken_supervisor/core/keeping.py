"""What becomes of the processes behind watchdogs: they end, new ones come, programs are taken down or given up.

A floor of the kennel (kennel.py), over incidents. Who ended by itself is judged for it; whoever was taken down on
purpose is not, and what such a process still had to say is out of date.
"""

from __future__ import annotations

from collections.abc import Callable

from banken.model import Cause, Incarnation
from banken_supervisor.core import ownership
from banken_supervisor.core.dog import Dog
from banken_supervisor.core.effects import Effect, Event, EventType
from banken_supervisor.core.incidents import Incidents
from banken_supervisor.core.states import State, Trigger


def _nobody(name: str) -> bool:
    return False


class Keeping(Incidents):
    """Takes note of ends and beginnings that the shell tells."""

    taken_down: Callable[[str], bool] = staticmethod(_nobody)
    """whether a name is a program that is being taken down: however long that takes, its silence is no incident"""

    def exited(
        self, who: Incarnation, now: float, out: list[Effect], stopping: Callable[[str], bool] = _nobody
    ) -> None:
        """A process has ended. What it owns and did not release is judged as soon as all that it sent is read.

        ``stopping``: whether a name is a program that is being taken down: nobody is judged for that.
        """
        for dog in self._take_owned(who):
            if dog.state in (State.ALIVE, State.WAITING):
                if stopping(dog.name):
                    self._away(dog, now)
                    continue
                self._unlearn(dog)
                dog.more().exited_at = now
                self._arm(dog)
            elif dog.rare is not None and dog.rare.incident is not None:
                out.append(Event(EventType.EXITED, dog.name, {"incident": dog.rare.incident.id, "pid": who.pid}))

    def ended(self, name: str, how: str, now: float, out: list[Effect]) -> None:
        """The program behind this name has ended, and nobody had asked it to."""
        dog = self._dogs.get(name)
        if dog is not None and dog.state in (State.ALIVE, State.WAITING):
            self._unlearn(dog)
            rare = dog.more()
            rare.exited_at, rare.exited_how = now, how
            self._arm(dog)

    def away(self, name: str, now: float) -> None:
        """The program behind this name was taken down, and will come up again by itself (``reborn``).

        An open incident stays open until then.
        """
        dog = self._dogs.get(name)
        if dog is not None:
            self._away(dog, now)

    def reborn(self, name: str, now: float, out: list[Effect]) -> None:
        """A new process stands behind this name, and has the grace of a start before its first feed."""
        dog = self._dogs.get(name)
        if dog is not None:
            self._disown(dog)
            self._reborn(dog, now, out)

    def abandon(self, name: str, why: str, now: float, out: list[Effect]) -> None:
        """The program behind this name is not started again by itself: its incident, which is opened if there is
        none, is given up."""
        dog = self._dogs.get(name)
        if dog is None:
            return
        if dog.state in (State.ALIVE, State.WAITING):
            rare = dog.more()
            cause, reason = Cause.FAILED, why
            if rare.exited_at is not None:
                cause, reason = Cause.EXITED, rare.exited_how or why
            self._open(dog, cause, now, now, out, reason)
        if dog.state is State.EXPIRED:
            self._give_up(dog, now, out)

    # -- inside -------------------------------------------------------------------------------------

    def _verdict(self, dog: Dog, due: float, now: float, out: list[Effect]) -> None:
        if dog.state in (State.ALIVE, State.WAITING) and self.taken_down(dog.name):
            self._away(dog, now)
        else:
            super()._verdict(dog, due, now, out)

    def _away(self, dog: Dog, now: float) -> None:
        self._disown(dog)
        if dog.state in (State.ALIVE, State.WAITING):
            self._move(dog, Trigger.REBORN)
            dog.fed_at = now
            rare = dog.more()
            rare.exited_at = rare.exited_how = None
            self._end_extension(dog)
            rare.away = True
            self._deadlines.disarm(dog)

    def _disown(self, dog: Dog) -> None:
        """Its process is gone: a message of it that arrives late is none of the next one's."""
        self._unlearn(dog)
        if dog.trail is not None:
            dog.trail.clear()
        if dog.owner is not None:
            ownership.displace(dog, dog.owner)
            dog.owner = None
            self._note_change(dog)

    def _reborn(self, dog: Dog, now: float, out: list[Effect]) -> None:
        """A new process has the name: its start-up has a grace of its own."""
        if dog.rare is not None:
            dog.rare.progress_at = None  # what the former process had reached is no measure for this one
        if dog.state is State.PAUSED:
            return
        self._close(dog, now, out, EventType.CLOSED, "reborn")
        self._move(dog, Trigger.REBORN)
        dog.fed_at = now
        rare = dog.rare
        if rare is not None:
            rare.progress_at = rare.exited_at = rare.exited_how = None
            self._end_extension(dog)
            rare.away = False
        self._arm(dog)
