"""Requests to a running supervisor, and its replies. docs/wire.md lists them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from time import monotonic
from typing import Any

import banken
from banken.clock import wall
from banken.errors import Refused, WireError
from banken.protocol.codec import VERSION, decode, pack, unpack
from banken.protocol.limits import REQUEST_MAX, check_name
from banken.protocol.messages import Kind
from banken_supervisor.control import checks_api
from banken_supervisor.control.arguments import OFFSET_MAX, RequestRefused, integer_of, matcher_of, pattern_of
from banken_supervisor.control.incidents_api import incidents, incidents_found
from banken_supervisor.control.key_rights import shown
from banken_supervisor.control.leader_steps import did, do
from banken_supervisor.control.metrics_snapshot import ROWS_MAX as METRIC_ROWS_MAX
from banken_supervisor.control.metrics_snapshot import metrics_snapshot
from banken_supervisor.control.registry_page import PART_RELEASED, PART_WATCHED, page
from banken_supervisor.control.view import ControlView, ReloadView
from banken_supervisor.engine.descriptions import results_data
from banken_supervisor.engine.feed_observer import suggestion
from banken_supervisor.engine.patterns import is_pattern
from banken_supervisor.engine.principal import Principal, Refusal
from banken_supervisor.engine.record import OpenIncident, Record, deadline
from banken_supervisor.engine.states import State
from banken_supervisor.observability.guard import Place
from banken_supervisor.text.durations import NEVER_S

ROWS_MAX = 500
"""Watchdogs in one reply; a further request from ``next`` on gets more."""

SCANNED_MAX = 20_000
SCAN_S = 0.02
"""Watchdogs, and seconds, scanned for one reply: a request about a million must not delay a verdict."""

REPLY_MAX = 256 * 1024
"""Characters of rows in one reply; further rows come with the next reply."""

LOOK_MAX = 200
"""Names in one ``look`` request."""

CHECK_EVERY = 128
"""Watchdogs between two checks of the clock."""


def answer(view: ControlView, request: bytes) -> bytes:
    """The reply to one request. Never raises."""
    number: Any = None
    op: Any = None
    try:
        body = unpack(request, REQUEST_MAX)
        if type(body) is not list or len(body) != 4 or type(body[1]) is not int:
            raise RequestRefused("a request is [version, number, op, arguments]")
        version, number, op, args = body
        if type(version) is not int or version != VERSION:
            raise RequestRefused(
                f"this supervisor speaks version {VERSION} of the wire, not {shown(version)}; "
                "install the same banken on both sides",
                "version",
            )
        handler = OPS.get(op) if type(op) is str else None
        if handler is None:
            raise RequestRefused(f"unknown request {shown(op)}; known: {', '.join(sorted(OPS))}")
        if type(args) is not dict:
            raise RequestRefused(f"the arguments must be a map, not {shown(args)}")
        return pack([VERSION, number, True, handler(view, args)])
    except (WireError, RequestRefused, Refused) as fault:
        reason = fault.reason if isinstance(fault, RequestRefused) else "request"
        driver = view.driver
        driver.engine.admission.refuse(Refusal(reason, str(fault)), driver.now, driver.out)
        return pack([VERSION, number, False, str(fault)])
    except Exception as fault:  # noqa: BLE001  # the client gets a reply, and the loop goes on
        view.guard.fault(Place.REQUEST, fault, op if type(op) is str and op in OPS else "")
        text = f"an internal error of the supervisor ({type(fault).__name__}); see its log"
        return pack([VERSION, number, False, text])


def _ping(view: ControlView, args: dict[str, Any]) -> Any:
    return {"pid": os.getpid(), "version": banken.__version__, "time": wall()}


ORDERS = (Kind.PAUSE, Kind.RESUME, Kind.EXTEND, Kind.RELEASE)
"""What an operator may say to one member of a cluster alone."""


def _tell(view: ControlView, args: dict[str, Any]) -> Any:
    """Take one message as if it had come over the feed socket; refuse the request if the message is refused.
    ``here``: it is for this member of a cluster alone."""
    frame, here = args.get("frame"), args.get("here", False)
    if type(frame) is not bytes:
        raise RequestRefused("tell takes the bytes of one message as 'frame'")
    if type(here) is not bool:
        raise RequestRefused("'here' must be true or false")
    driver, cluster = view.driver, view.cluster()
    if here:
        return _tell_here(view, frame)
    if cluster is not None and cluster.words.takes(message := decode(frame)):
        if (why := cluster.words.refusal(message)) is not None:
            raise RequestRefused(why, "cluster")
        return {"taken": True, "word": cluster.words.say(message)}
    refused = driver.engine.take(frame, driver.now, driver.out, Principal.OPERATOR)
    if refused is not None:
        raise RequestRefused(refused.text)
    return {"taken": True}


def _tell_here(view: ControlView, frame: bytes) -> Any:
    if view.cluster() is None:
        raise RequestRefused("this supervisor is in no cluster: what is said to it counts here, and nowhere else")
    message, driver = decode(frame), view.driver
    if message.kind not in ORDERS:
        allowed = ", ".join(each.name.lower() for each in ORDERS)
        raise RequestRefused(f"{message.kind.name.lower()} is not said to one member alone; allowed: {allowed}")
    refused = driver.engine.take(frame, driver.now, driver.out, Principal.OPERATOR)
    if refused is not None:
        raise RequestRefused(refused.text)
    if message.kind in (Kind.PAUSE, Kind.RESUME):
        driver.engine.registry.was_said(message.name, pauses=message.kind is Kind.PAUSE, here=True)
    if message.name in driver.engine.table.released:
        driver.engine.table.released_here.add(message.name)
    return {"taken": True}


def _word(view: ControlView, args: dict[str, Any]) -> Any:
    """What became of a word that was said to all members of the cluster: its ``number``, from ``tell``."""
    cluster, number = view.cluster(), integer_of(args, "number", 1, OFFSET_MAX, 1)
    return {"done": True, "why": None} if cluster is None else cluster.words.outcome(number)


def _summary(view: ControlView, args: dict[str, Any]) -> Any:
    driver = view.driver
    states = {state.value: driver.engine.table.states[state] for state in State if state is not State.RELEASED}
    return {
        "pid": os.getpid(),
        "version": banken.__version__,
        "started": view.metrics.started,
        "uptime": view.metrics.uptime,
        "watchdogs": len(driver.engine),
        "states": states,
        "messages": view.metrics.messages,
        "turns": view.metrics.turns,
        "slowest_turn": view.metrics.slowest_turn,
        "stalls": driver.clock.stalls,
        "lost": driver.clock.lost,
        "overloads": driver.overloads,
        "probes_lost": driver.barrier.lost,
        "events": dict(view.metrics.events),
        "waiting": driver.engine.waiting.size,
        "refused": dict(driver.engine.admission.refused),
        "programs": len(view.programs.specs),
        **view.parts(),
        "internal_errors": dict(view.guard.counts),
    }


def _metrics(view: ControlView, args: dict[str, Any]) -> Any:
    """``summary`` and more, for Prometheus; at most ``limit`` rows of the watchdogs that match ``name``."""
    pattern, limit = pattern_of(args), integer_of(args, "limit", 0, METRIC_ROWS_MAX, METRIC_ROWS_MAX)
    matches = matcher_of(pattern)
    scanned = None if pattern is None else (record for record in _scan(view, 0) if matches(record.name))
    return metrics_snapshot(view, _summary(view, args), scanned, limit)


def _status(view: ControlView, args: dict[str, Any]) -> Any:
    """Rows of watchdogs: ``name`` (exact, or a pattern with ``*?[``), ``offset``, ``limit``."""
    unseen = view.unseen
    if not unseen:
        return _rows(view, args, partial(_row, view))
    return _rows(view, args, lambda record, now: {**_row(view, record, now), "end_unseen": record.owner in unseen})


def _suggest(view: ControlView, args: dict[str, Any]) -> Any:
    """Proposed timeouts from the observed gaps: arguments and paging as for ``status``, with other rows."""
    return _rows(view, args, lambda record, now: suggestion(record))


def _look(view: ControlView, args: dict[str, Any]) -> Any:
    """The rows of exactly these watchdogs, as in ``status``; with ``feeds`` also their last feeds, with ``timers``
    also what was heard of them. In a cluster also which of them were released, and seconds since then."""
    names, feeds, timers = args.get("names"), args.get("feeds", False), args.get("timers", False)
    if type(names) is not list or len(names) > LOOK_MAX or any(type(name) is not str for name in names):
        raise RequestRefused(f"'names' must be a list of at most {LOOK_MAX} strings, not {shown(names)}")
    if type(feeds) is not bool or type(timers) is not bool:
        raise RequestRefused(f"'{'timers' if type(feeds) is bool else 'feeds'}' must be true or false")
    engine, now = view.driver.engine, view.driver.now
    rows: list[dict[str, Any]] = []
    gone: list[str] = []
    for name in dict.fromkeys(names):
        record = engine.get(name)
        if record is None:
            gone.append(check_name(name))
        else:
            more: dict[str, Any] = {"feeds": engine.history.feeds(record, now)} if feeds else {}
            if timers:
                more["timers"] = engine.succession.heard(record, now)._asdict()
            rows.append({**_row(view, record, now), **more})
    kept, here, age = engine.table.released, engine.table.released_here, engine.registry.age
    released = [[name, age(kept[name], now)] for name in gone if name in kept and name not in here]
    return {"rows": rows, "gone": gone, **({"released": released} if released else {})}


def _registry(view: ControlView, args: dict[str, Any]) -> Any:
    """For the other members of a cluster: ``part``, ``offset``."""
    part, offset = args.get("part"), integer_of(args, "offset", 0, OFFSET_MAX, 0)
    if part not in (PART_WATCHED, PART_RELEASED):
        raise RequestRefused(f"'part' must be {PART_WATCHED} or {PART_RELEASED}, not {shown(part)}")
    return page(view, part, offset)


def _row(view: ControlView, record: Record, now: float) -> dict[str, Any]:
    """Its row, with the key and the host where it is on another one."""
    owner, fields = record.owner, row(record, now)
    if (checks := view.driver.engine.table.checks_of.get(record.name)) is not None:
        fields["checks"] = len(checks)
    if (path := view.programs.notify_path(record.name)) is not None:
        fields["notify"] = path
    return fields if owner is None else {**fields, **view.remote().origin(owner.boot)}


def _scan(view: ControlView, offset: int) -> Iterator[Record]:
    """Watchdogs from ``offset`` on: as many as one request may scan."""
    until = monotonic() + SCAN_S
    for count, record in enumerate(islice(view.driver.engine.table, offset, offset + SCANNED_MAX), 1):
        yield record
        if count % CHECK_EVERY == 0 and monotonic() >= until:
            return


def _rows(view: ControlView, args: dict[str, Any], row: Callable[[Record, float], dict[str, Any]]) -> Any:
    pattern = pattern_of(args)
    offset = integer_of(args, "offset", 0, OFFSET_MAX, 0)
    limit = integer_of(args, "limit", 1, ROWS_MAX, ROWS_MAX)
    engine, now = view.driver.engine, view.driver.now
    if pattern is not None and not is_pattern(pattern):
        record = engine.get(pattern)
        return {"rows": [] if record is None else [row(record, now)], "next": None, "total": len(engine)}
    matches = matcher_of(pattern)
    rows: list[dict[str, Any]] = []
    place, size = offset, 0
    for record in _scan(view, offset):
        place += 1
        if matches(record.name):
            rows.append(row(record, now))
            size += _length(record)
            if len(rows) >= limit or size >= REPLY_MAX:
                break
    return {"rows": rows, "next": place if place < len(engine) else None, "total": len(engine)}


def _length(record: Record) -> int:
    """Characters of the long texts in its row."""
    if (details := record.details) is None:
        return 0
    texts = details.status, details.progress, details.open_incident and details.open_incident.reason
    return sum(len(text) for text in texts if isinstance(text, str))


def row(record: Record, now: float) -> dict[str, Any]:
    """One watchdog as clients see it; seconds. ``left``: until it is due, negative when late."""
    due = deadline(record)
    declared, details = record.declaration, record.details
    fields: dict[str, Any] = {
        "name": record.name,
        "state": shown_state(record),
        "silence": max(0.0, now - record.fed_at),
        "left": None if due is None else due - now,
        "timeout": declared.timeout,
        "interval": declared.interval,
        "grace": declared.grace,
        "resolution": record.resolution,
        "by": record.by.value,
        "awaited": record.awaited,
        "pid": None if record.owner is None else record.owner.pid,
        "incidents": 0 if details is None else details.incidents,
    }
    if details is None:
        return fields
    if details.stopped_with is not None:
        fields["stopped_with"] = details.stopped_with
    fields.update({k: v for k in ("status", "progress") if (v := getattr(details, k)) is not None})
    if (incident := details.open_incident) is not None:
        fields["incident"] = {
            "id": incident.id,
            "cause": incident.cause.value,
            "age": now - incident.opened,
            "runs": incident.runs,
            "reason": incident.reason,
            "blamed": incident.blamed,
            **_next_step(record, incident, now),
        }
    if record.policy is not None and (check := record.policy.check) is not None:
        fields["check_of"], fields["check"] = check.of, check.label
        if (last := results_data(record, now)[-1:]) and details.check is not None:
            following = details.check.next_at
            fields["result"] = {**last[0], "next": None if following is None else following - now}
    if (quorum := details.quorum) is not None:
        fields["group"] = {
            "alive": quorum.alive, "at_least": quorum.at_least, "members": list(quorum.members),
            "stopped": list(quorum.stopped),
        }  # fmt: skip
    return fields


def shown_state(record: Record) -> str:
    """The word for its state: ``idle`` where it has nothing to do, ``running`` where it need never feed."""
    if record.is_idle:
        return "idle"
    if record.is_end_only:
        return "running"
    never = min(record.declaration.timeout, record.declaration.grace) >= NEVER_S
    starting = record.stopped_with is not None or not record.awaited
    return "running" if record.state is State.WAITING and never and not starting else record.state.value


def _next_step(record: Record, incident: OpenIncident, now: float) -> dict[str, Any]:
    """``steps``: length of the ladder. ``next``: the next step, its action and seconds until it; or None."""
    steps = () if record.policy is None else record.policy.ladder.steps
    step = incident.next_step
    following = None
    if step is not None and step.number < len(steps):
        following = {"step": step.number, "do": steps[step.number].do, "left": step.when - now}
    return {"steps": len(steps), "next": following}


def _programs(view: ControlView, args: dict[str, Any]) -> Any:
    return {"rows": view.programs.rows(view.driver.now)}


def _program(view: ControlView, args: dict[str, Any]) -> Any:
    """Start, stop or restart one program: ``what``, ``name``."""
    what, name = args.get("what"), args.get("name")
    if what not in ("start", "stop", "restart") or type(name) is not str:
        raise RequestRefused("'what' must be start, stop or restart, and 'name' the name of a program")
    driver = view.driver
    try:
        view.programs.command(what, name, driver.engine, driver.now, driver.out, "requested by a command")
    except KeyError:
        known = ", ".join(view.programs.names()[:20]) or "none"
        raise RequestRefused(f"no program is called {shown(name)}; known: {known}") from None
    return {"rows": [row for row in view.programs.rows(driver.now) if row["name"] == name]}


def _keys(view: ControlView, args: dict[str, Any]) -> Any:
    """The keys that other hosts come in with, and who was denied lately."""
    return view.remote().keys()


def _reload(view: ControlView, args: dict[str, Any]) -> Any:
    """Start a reload of the config. An event, and ``reloaded`` with this number, give the result."""
    allow_empty = args.get("allow_empty", False)
    if type(allow_empty) is not bool:
        raise RequestRefused(f"allow_empty must be true or false, not {shown(allow_empty)}")
    return {"number": _config_reload(view).ask(allow_empty)}


def _reloaded(view: ControlView, args: dict[str, Any]) -> Any:
    """The result of the last finished reload: ``number``, ``ok``, ``text``; reloads up to it are finished."""
    return _config_reload(view).last


def _config_reload(view: ControlView) -> ReloadView:
    reloads = view.reloads()
    if reloads is None:
        raise RequestRefused("this supervisor was started without a config file: there is nothing to reload")
    return reloads


def _stop(view: ControlView, args: dict[str, Any]) -> Any:
    return {"stopping": True, **view.stop()}


OPS: dict[str, Callable[[ControlView, dict[str, Any]], Any]] = {
    handler.__name__[1:]: handler
    for handler in (
        _keys, _look, _metrics, _ping, _program, _programs, _reload, _reloaded, _registry, _status, _stop, _suggest,
        _summary, _tell, _word,
    )
} | checks_api.OPS | {"do": do, "did": did, "incidents": incidents, "incidents_found": incidents_found}  # fmt: skip
