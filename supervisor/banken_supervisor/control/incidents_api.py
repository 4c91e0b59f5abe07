"""The requests ``incidents`` and ``incidents_found``: what the journal has, here or with the other members.

The loop reads no disk and waits for nobody: the first starts the search, the second asks what it found.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from banken.errors import Refused
from banken.protocol.limits import check_name
from banken_supervisor.control.arguments import OFFSET_MAX, PATTERN_MAX, integer_of
from banken_supervisor.control.key_rights import shown
from banken_supervisor.control.view import ControlView, IncidentsView

LIMIT_MAX = 500
NAMES_MAX = 100
TIME_MAX = 1e12


class Search(NamedTuple):
    """Which incidents are asked for."""

    names: tuple[str, ...]
    """names and patterns; none: all"""
    open_only: bool
    since: float | None
    """wall clock: not those that were over before"""
    limit: int


def incidents(view: ControlView, args: dict[str, Any]) -> Any:
    """Begin to search: ``names``, ``open``, ``since``, ``limit``; ``others``: with the other members, not here."""
    names, only, since, others = args.get("names"), args.get("open"), args.get("since"), args.get("others")
    if type(names) is not list or len(names) > NAMES_MAX:
        raise Refused(f"'names' must be a list of at most {NAMES_MAX} names, not {shown(names)}")
    for name in names:
        if type(name) is not str or len(name) > PATTERN_MAX:
            check_name(name)
    if type(only) is not bool or type(others) is not bool:
        raise Refused(f"'open' and 'others' must be true or false, not {shown(only)} and {shown(others)}")
    if since is not None and (type(since) not in (int, float) or not 0.0 <= since <= TIME_MAX):
        raise Refused(f"'since' must be nil or a time, not {shown(since)}")
    limit = integer_of(args, "limit", 1, LIMIT_MAX, LIMIT_MAX)
    search = Search(tuple(names), only, None if since is None else float(since), limit)
    return {"number": _view(view).search(search, others=others)}


def incidents_found(view: ControlView, args: dict[str, Any]) -> Any:
    """What became of the search with this ``number``."""
    number = integer_of(args, "number", 1, OFFSET_MAX, 1)
    return _view(view).found(number)


def _view(view: ControlView) -> IncidentsView:
    cluster = view.cluster()
    if cluster is None:
        raise Refused("this supervisor is no member of a cluster: its journal's file has its incidents")
    return cluster.incidents
