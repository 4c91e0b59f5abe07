"""What can be asked of a running supervisor, and its answers. docs/wire.md lists them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from itertools import islice
from typing import TYPE_CHECKING, Any

import banken
from banken.errors import WireError
from banken.wire import REQUEST_MAX, VERSION, pack, unpack
from banken_supervisor.core.dog import Dog, OpenIncident, deadline
from banken_supervisor.core.habits import suggestion
from banken_supervisor.core.refusals import Refusal
from banken_supervisor.core.states import State
from banken_supervisor.measures import ROWS_MAX as MEASURED_MAX
from banken_supervisor.measures import measures

if TYPE_CHECKING:
    from banken_supervisor.loop import Loop
    from banken_supervisor.reloading import Reloading

ROWS_MAX = 500
"""Watchdogs in one answer; more are had by asking again from ``next``."""

SCANNED_MAX = 20_000
"""Watchdogs looked at for one answer, so that a question about a million does not hold up a verdict."""


LOOK_MAX = 200
"""Watchdogs looked at by their names in one request."""


class RequestRefused(Exception):
    """The text is for the asker."""


def answer(loop: Loop, request: bytes) -> bytes:
    """The reply to one request, whatever it is."""
    number: Any = None
    try:
        body = unpack(request, REQUEST_MAX)
        if type(body) is not list or len(body) != 4 or type(body[1]) is not int:
            raise RequestRefused("a request is [version, number, op, arguments]")
        version, number, op, args = body
        if version != VERSION:
            raise RequestRefused(f"this supervisor speaks version {VERSION}, not {version!r}"[:200])
        handler = OPS.get(op) if type(op) is str else None
        if handler is None:
            raise RequestRefused(f"no such request; there are {', '.join(sorted(OPS))}")
        if type(args) is not dict:
            raise RequestRefused("the arguments are a map")
        return pack([VERSION, number, True, handler(loop, args)])
    except (WireError, RequestRefused) as fault:
        refusals = loop.watch.kennel.refusals
        event = refusals.note(Refusal("request", str(fault)), loop.watch.now)
        if event is not None:
            loop.watch.out.append(event)
        return pack([VERSION, number, False, str(fault)])


def _ping(loop: Loop, args: dict[str, Any]) -> Any:
    return {"pid": os.getpid(), "version": banken.__version__, "time": time.time()}


def _tell(loop: Loop, args: dict[str, Any]) -> Any:
    """Take one message as if it had come over the feed socket, and say what became of it."""
    frame = args.get("frame")
    if type(frame) is not bytes:
        raise RequestRefused("tell takes the bytes of one message as 'frame'")
    refused = loop.tell(frame)
    if refused is not None:
        raise RequestRefused(refused)
    return {"taken": True}


def _summary(loop: Loop, args: dict[str, Any]) -> Any:
    watch = loop.watch
    states = {state.value: watch.kennel.states[state] for state in State if state is not State.RELEASED}
    return {
        "pid": os.getpid(),
        "version": banken.__version__,
        "started": loop.started_at,
        "uptime": time.time() - loop.started_at,
        "watchdogs": len(watch.kennel),
        "states": states,
        "messages": loop.messages,
        "turns": loop.turns,
        "slowest_turn": loop.slowest_turn,
        "stalls": watch.clock.stalls,
        "lost": watch.clock.lost,
        "overloads": watch.overloads,
        "probes_lost": watch.hold.lost,
        "events": dict(loop.events),
        "refused": dict(watch.kennel.refusals.counts),
        "callbacks": loop.callbacks.counts(),
        "actions": loop.remedies.executor.counts(),
        "programs": len(loop.stable.specs),
        "processes_watched": len(loop.lives),
        "journal": None if loop.annals is None else loop.annals.state(),
        "log_lines_dropped": loop.log_lines_dropped,
    }


def _metrics(loop: Loop, args: dict[str, Any]) -> Any:
    """``summary`` and more, for Prometheus; rows of the watchdogs that ``name`` fits, at most ``limit``."""
    pattern, limit = args.get("name"), args.get("limit", MEASURED_MAX)
    if type(limit) is not int or not 0 <= limit <= MEASURED_MAX:
        raise RequestRefused(f"limit is a number from 0 to {MEASURED_MAX}")
    if pattern is not None and type(pattern) is not str:
        raise RequestRefused("name is a text")
    return measures(loop, _summary(loop, args), pattern, limit, SCANNED_MAX)


def _status(loop: Loop, args: dict[str, Any]) -> Any:
    """Rows of watchdogs: ``name`` (exact, or a pattern with ``*?[``), ``offset``, ``limit``."""
    return _rows(loop, args, row)


def _suggest(loop: Loop, args: dict[str, Any]) -> Any:
    """Which timeouts the observed gaps ask for: takes and gives what ``status`` does, with rows of its own."""
    return _rows(loop, args, lambda dog, now: suggestion(dog))


def _look(loop: Loop, args: dict[str, Any]) -> Any:
    """The rows of exactly these watchdogs, as ``status`` gives them; with ``feeds`` their last feeds, too."""
    names, feeds = args.get("names"), args.get("feeds", False)
    if type(names) is not list or len(names) > LOOK_MAX or any(type(name) is not str for name in names):
        raise RequestRefused(f"look takes 'names', a list of at most {LOOK_MAX} texts")
    if type(feeds) is not bool:
        raise RequestRefused("look takes 'feeds' as true or false")
    kennel, now = loop.watch.kennel, loop.watch.now
    rows: list[dict[str, Any]] = []
    gone: list[str] = []
    for name in dict.fromkeys(names):
        dog = kennel.get(name)
        if dog is None:
            gone.append(name)
        else:
            told = row(dog, now)
            if feeds:
                told["feeds"] = kennel.trail(dog, now)
            rows.append(told)
    return {"rows": rows, "gone": gone}


def _rows(loop: Loop, args: dict[str, Any], row: Callable[[Dog, float], dict[str, Any]]) -> Any:
    pattern = args.get("name")
    offset, limit = args.get("offset", 0), args.get("limit", ROWS_MAX)
    if type(offset) is not int or type(limit) is not int or offset < 0 or not 0 < limit <= ROWS_MAX:
        raise RequestRefused(f"offset is a number from 0 on, limit one from 1 to {ROWS_MAX}")
    if pattern is not None and type(pattern) is not str:
        raise RequestRefused("name is a text")
    kennel, now = loop.watch.kennel, loop.watch.now
    if pattern is not None and not any(c in pattern for c in "*?["):
        dog = kennel.get(pattern)
        return {"rows": [] if dog is None else [row(dog, now)], "next": None, "total": len(kennel)}
    rows: list[dict[str, Any]] = []
    place = offset
    for dog in islice(kennel.all(), offset, offset + SCANNED_MAX):
        place += 1
        if pattern is None or fnmatchcase(dog.name, pattern):
            rows.append(row(dog, now))
            if len(rows) >= limit:
                break
    more = place if place < len(kennel) else None
    return {"rows": rows, "next": more, "total": len(kennel)}


def row(dog: Dog, now: float) -> dict[str, Any]:
    """One watchdog as people and programs see it; seconds. ``left``: until it is due, negative when late."""
    due = deadline(dog)
    declared = dog.declaration
    told: dict[str, Any] = {
        "name": dog.name,
        "state": dog.state.value,
        "silence": max(0.0, now - dog.fed_at),
        "left": None if due is None else due - now,
        "timeout": declared.timeout,
        "interval": declared.interval,
        "grace": declared.grace,
        "resolution": dog.resolution,
        "by": "operator" if dog.operator else "worker",
        "pid": None if dog.owner is None else dog.owner.pid,
        "incidents": 0,
    }
    rare = dog.rare
    if rare is not None:
        told["incidents"] = rare.incidents
        told.update({k: v for k in ("status", "progress") if (v := getattr(rare, k)) is not None})
        if rare.incident is not None:
            open_one = rare.incident
            told["incident"] = {
                "id": open_one.id,
                "cause": open_one.cause.value,
                "age": now - open_one.opened,
                "runs": open_one.run,
                "reason": open_one.reason,
                "blamed": open_one.blamed,
                **_next_step(dog, open_one, now),
            }
        if rare.standing is not None:
            told["group"] = {"alive": rare.standing.sure, "at_least": rare.standing.at_least}
    return told


def _next_step(dog: Dog, incident: OpenIncident, now: float) -> dict[str, Any]:
    """``steps`` of the ladder, and ``next``: which is due, what it does, in how many seconds; None: none is."""
    rungs = () if dog.policy is None else dog.policy.ladder.rungs
    step = incident.step
    if step is None or step.rung >= len(rungs):
        return {"steps": len(rungs), "next": None}
    return {
        "steps": len(rungs),
        "next": {"rung": step.rung, "do": rungs[step.rung].do, "left": step.when - now},
    }


def _programs(loop: Loop, args: dict[str, Any]) -> Any:
    return {"rows": loop.stable.rows(loop.watch.now)}


def _program(loop: Loop, args: dict[str, Any]) -> Any:
    """start, stop or restart one program: ``what``, ``name``."""
    what, name = args.get("what"), args.get("name")
    if what not in ("start", "stop", "restart") or type(name) is not str:
        raise RequestRefused("program takes 'what' (start, stop or restart) and the 'name' of a program")
    watch = loop.watch
    try:
        loop.stable.command(what, name, watch.kennel, watch.now, watch.out, "asked to")
    except KeyError:
        known = ", ".join(loop.stable.names()[:20]) or "none"
        raise RequestRefused(f"no program is called {name!r}; there are: {known}") from None
    return {"rows": [row for row in loop.stable.rows(watch.now) if row["name"] == name]}


def _reload(loop: Loop, args: dict[str, Any]) -> Any:
    """Read the config file again. What becomes of it is told by an event, and by ``reloaded`` under its number."""
    return {"number": _reloading(loop).ask()}


def _reloaded(loop: Loop, args: dict[str, Any]) -> Any:
    """What became of the newest reading of the config file that is over: of all up to its number."""
    last = _reloading(loop).last
    return {"number": 0} if last is None else {"number": last.number, "ok": last.ok, "text": last.text}


def _reloading(loop: Loop) -> Reloading:
    if loop.reloading is None:
        raise RequestRefused("this supervisor was started without a config file: there is nothing to reload")
    return loop.reloading


def _stop(loop: Loop, args: dict[str, Any]) -> Any:
    loop.stop()
    return {"stopping": True}


OPS: dict[str, Callable[[Loop, dict[str, Any]], Any]] = {
    "look": _look,
    "metrics": _metrics,
    "ping": _ping,
    "program": _program,
    "programs": _programs,
    "reload": _reload,
    "reloaded": _reloaded,
    "status": _status,
    "stop": _stop,
    "suggest": _suggest,
    "summary": _summary,
    "tell": _tell,
}
