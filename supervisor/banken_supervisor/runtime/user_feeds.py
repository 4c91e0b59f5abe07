"""Lets programs that run as another user feed: each such user has a feed socket of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from banken.errors import AddressRefused
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.engine.principal import OtherUser
from banken_supervisor.processes.handle import is_local, runs_as
from banken_supervisor.sources.sockets import Sockets

KNOWN_MAX = 1_000
"""Processes of one user that are not looked up again."""


@dataclass(eq=False)
class UserFeeds:
    """``post``: makes the loop call a function. ``user_of``: the user id of a program. ``allow``: is given each
    process that was found to be its user's: an action may signal it."""

    _sockets: Sockets
    _post: Callable[[Callable[[], None]], object]
    _user_of: Callable[[str], int | None]
    _allow: Callable[[ProcessIdentity], None]

    def serve(self, uid: int) -> str | None:
        """Bind this user's socket, from any thread; why that is not possible, in words. Once is enough."""
        known: set[ProcessIdentity] = set()

        def is_own(who: ProcessIdentity) -> bool:
            if who in known:
                return True
            if not is_local(who) or not runs_as(who, uid):
                return False
            if len(known) >= KNOWN_MAX:
                known.clear()
            known.add(who)
            self._allow(who)
            return True

        try:
            door = self._sockets.bind_for(OtherUser(uid, self._user_of, is_own))
        except (OSError, AddressRefused) as fault:
            return str(fault)
        if door is not None:
            self._post(lambda: self._sockets.read(door))
        return None
