"""Incidents of all members of a cluster: each has those in its journal that it has acted on.

Belongs to the loop's thread, which reads no disk and waits for nobody: a search runs on a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from banken.errors import BankenError, Refused, Unreachable
from banken_supervisor.control.incidents_api import Search
from banken_supervisor.journal import IncidentRecord, JournalError
from banken_supervisor.journal.reading import plain

if TYPE_CHECKING:
    from banken_supervisor.runtime.member_links import MemberLink

KEPT_MAX = 20
"""Searches whose result is kept, the latest."""

UNDER_WAY_MAX = 4
"""Searches at once; a further one is refused."""

ANSWER_S, PATIENCE_S, POLL_S = 1.0, 4.0, 0.05
"""Seconds that a member may take for one answer, and in all; and between two questions."""

NO_ANSWER = "does not answer"


@dataclass(eq=False)
class IncidentSearch:
    """``find``: as ``reading.find``; None: there is no journal. ``submit`` has something done on a thread, ``post``
    on the loop's."""

    _find: Callable[..., list[IncidentRecord]] | None
    _submit: Callable[[str, Callable[[], None]], None]
    _post: Callable[[Callable[[], None]], None]
    _links: Mapping[str, MemberLink]
    _number: int = 0
    _found: dict[int, dict[str, Any] | None] = field(default_factory=dict)
    """by number; None: it is under way"""

    def search(self, search: Search, *, others: bool) -> int:
        """Begin; a number by which to ask ``found``. Refused: too many are under way."""
        if sum(each is None for each in self._found.values()) >= UNDER_WAY_MAX:
            raise Refused(f"{UNDER_WAY_MAX} searches are under way already; ask again")
        self._number += 1
        number, links = self._number, sorted(self._links.items()) if others else None
        self._found[number] = None
        if len(self._found) > KEPT_MAX:
            del self._found[next(iter(self._found))]
        self._submit(f"search {number}", partial(self._work, number, search, links))
        return number

    def found(self, number: int) -> dict[str, Any]:
        """``done``; then, for each member, ``rows``, or ``why`` there are none."""
        members = self._found.get(number, {})
        if members is None:
            return {"done": False, "members": {}}
        return {"done": True, "members": members}

    def _work(self, number: int, search: Search, links: Sequence[tuple[str, MemberLink]] | None) -> None:
        """On a thread."""
        try:
            if links is None:
                found = {"": self._own(search)}
            else:
                found = {name: self._of(link, search) for name, link in links}
        except Exception as fault:  # noqa: BLE001  # whoever asked is told
            found = {"": {"rows": [], "why": f"{type(fault).__name__}: {fault}"}}
        self._post(partial(self._done, number, found))

    def _done(self, number: int, found: dict[str, Any]) -> None:
        if number in self._found:
            self._found[number] = found

    def _own(self, search: Search) -> dict[str, Any]:
        if self._find is None:
            return {"rows": [], "why": "keeps no journal"}
        try:
            return {"rows": [plain(each) for each in self._find(*search)], "why": None}
        except JournalError as fault:
            return {"rows": [], "why": str(fault)}

    def _of(self, link: MemberLink, search: Search) -> dict[str, Any]:
        if not link.is_up:
            return {"rows": [], "why": NO_ANSWER}
        until = monotonic() + PATIENCE_S
        try:
            with link.connect(ANSWER_S) as control:
                names, only, since, limit = search
                asked = {"names": list(names), "open": only, "since": since, "limit": limit, "others": False}
                number = control.request("incidents", **asked)["number"]
                while monotonic() < until:
                    answer = control.request("incidents_found", number=number)
                    if answer["done"]:
                        return dict(answer["members"].get("", {"rows": [], "why": NO_ANSWER}))
                    sleep(POLL_S)
        except Unreachable:
            return {"rows": [], "why": NO_ANSWER}
        except BankenError as fault:
            return {"rows": [], "why": str(fault)}
        return {"rows": [], "why": NO_ANSWER}
