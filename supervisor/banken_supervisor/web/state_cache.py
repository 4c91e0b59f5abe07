"""One copy of all rows, kept up to date by the supervisor's events and shared by all streams.

A row is kept as the JSON that is sent: text costs a third of what its parts would, and is made once for all
streams, on the thread for requests. Feeds are no events, so ``left`` and ``silence`` are those of the moment at
which the row was read (``at``). A new stream gets rows that are at most ``FRESH_S`` old.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Iterator
from itertools import islice
from typing import Any

from banken.errors import RequestFailed, Unreachable
from banken_supervisor.operator_client.pager import Pager
from banken_supervisor.web.broadcaster import Broadcaster
from banken_supervisor.web.errors import to_json
from banken_supervisor.web.supervisor_client import AsyncSupervisorClient

FRESH_S = 2.0
"""Rows older than so many seconds are read again for a new stream."""

FLUSH_S = 0.25
"""Changes are looked up and sent at most once in so many seconds."""

FLUSH_SOON_S = 0.02
"""Seconds after the first of several events: events of one moment are sent together."""

SUMMARY_S = 2.0
"""Seconds between two summaries while a stream is open."""

LOOK_MAX = 200
FLUSH_MAX = 1_000
"""Names in one request, and in all requests of one flush; the rest waits for the next flush."""

PAGE = 500
CHUNK = 100
GROUPS_MAX = 100

log = logging.getLogger("banken.web")


class StateCache:
    """The supervisor's last summary and rows. Lives in one event loop."""

    def __init__(self, client: AsyncSupervisorClient, broadcaster: Broadcaster) -> None:
        self.up = False
        """a supervisor is connected and answers"""
        self.error = "no supervisor has answered yet"
        """why not"""
        self.session: str | None = None
        """which run of which supervisor"""
        self.summary: dict[str, Any] | None = None
        self.groups: set[str] = set()
        """names of rows that stand for a group"""
        self.stopped: set[str] = set()
        """names of rows that wait for a program"""
        self.seq = 0
        self._client, self._broadcaster = client, broadcaster
        self._rows: dict[str, str] = {}
        self._read_at = 0.0
        self._reading: asyncio.Task[None] | None = None
        self._dirty: dict[str, None] = {}
        self._flushing: asyncio.Task[None] | None = None
        self._flushed = 0.0
        self._connected = False
        self._checking = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._spawn(self._send_summaries())

    # -- called by the event follower ---------------------------------------------------------------

    def on_connected(self, there: bool) -> None:
        self._connected = self._client.connected = there
        if there:
            self._spawn(self._check())
        else:
            self._gone("the supervisor is not running, or restarting: its connection was lost")

    def on_events(self, events: list[dict[str, Any]]) -> None:
        """Send events to all streams, and note which rows they change."""
        watched = bool(self._broadcaster.subscribers)
        lost = False
        for event in events:
            seq = event.get("seq")
            if type(seq) is int:
                lost = lost or (self.seq > 0 and seq > self.seq + 1)
                self.seq = seq
            if watched:
                self._broadcaster.send("event", to_json(event), f"{self.session or 0}-{seq}")
            name = event.get("name")
            if type(name) is str:
                self._dirty[name] = None
            if event.get("type") == "program" and len(self.stopped) <= FLUSH_MAX:
                self._dirty.update(dict.fromkeys(self.stopped))
        if self.groups and len(self.groups) <= GROUPS_MAX:
            self._dirty.update(dict.fromkeys(self.groups))  # a member's change is its group's
        if lost:
            log.warning("events were lost: everything is read again")
            self._read_at = 0.0
            self._broadcaster.restart_all()
        if not watched:
            self._dirty.clear()  # the next stream has everything read again
            self._read_at = 0.0
        elif self._dirty and self._flushing is None:
            self._flushing = self._spawn(self._flush())

    # -- called by streams and answers --------------------------------------------------------------

    def greeting(self) -> str:
        """The data of ``hello``."""
        found = {"up": self.up, "session": self.session, "summary": self.summary}
        return to_json(found if self.up else {**found, "error": self.error})

    async def fresh(self) -> None:
        """Read all rows if they are older than ``FRESH_S``; concurrent callers share one reading. Unreachable."""
        if time.monotonic() - self._read_at < FRESH_S:
            return
        if self._reading is None:
            self._reading = self._spawn(self._read())
            self._reading.add_done_callback(self._read_ended)
        await asyncio.shield(self._reading)

    def chunks(self) -> Iterator[str]:
        """The data of ``rows``, piece by piece; each piece has the rows as they are when it is taken."""
        names = list(self._rows)
        for place in range(0, max(1, len(names)), CHUNK):
            texts = [text for name in names[place : place + CHUNK] if (text := self._rows.get(name)) is not None]
            complete = "true" if place + CHUNK >= len(names) else "false"
            yield f'{{"rows":[{",".join(texts)}],"complete":{complete}}}'

    async def read_summary(self) -> dict[str, Any]:
        """The supervisor's summary as it is now. Unreachable."""
        try:
            summary: dict[str, Any] = await self._client.request("summary")
        except Unreachable as fault:
            self._gone(str(fault))
            raise
        self.summary = summary
        self.session = f"{summary['pid']}.{int(summary['started'] * 1000)}"
        return summary

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    # -- inside -------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _gone(self, why: str) -> None:
        self.error = why
        if self.up:
            self.up = False
            log.warning("the supervisor does not answer: %s", why)
            self._broadcaster.send("down", to_json({"error": why}))

    async def _check(self) -> None:
        """Find out whether the supervisor answers, and whether it is the same one as before."""
        if self._checking:
            return
        self._checking = True
        before = self.session
        try:
            await self.read_summary()
        except (Unreachable, RequestFailed):
            return
        finally:
            self._checking = False
        if self.up and self.session == before:
            return
        log.info("the supervisor answers: session %s", self.session)
        if self.session != before:
            self.seq = 0
        self._read_at = 0.0
        self.up = True
        self._broadcaster.send("up", self.greeting())
        self._broadcaster.restart_all()

    async def _send_summaries(self) -> None:
        """Find out whether the supervisor answers, and send its counts to all streams."""
        while True:
            await asyncio.sleep(SUMMARY_S)
            self._client.connected = self._connected  # where no connection was made, none is lost either
            if not self._connected or (self.up and not self._broadcaster.subscribers):
                continue
            if not self.up:
                await self._check()
            elif self._flushing is None:
                with contextlib.suppress(Unreachable, RequestFailed):
                    summary = await self.read_summary()
                    self._broadcaster.send("changed", to_json({"rows": [], "gone": [], "summary": summary}))

    async def _read(self) -> None:
        """Read everything, a page at a time. What open streams were not told yet is still looked up for them."""
        found: dict[str, str] = {}
        groups: set[str] = set()
        stopped: set[str] = set()
        pager = Pager()
        while pager.offset is not None:
            try:
                texts, some, waiting, rest = await self._client.request(
                    "status", _as_texts, offset=pager.offset, limit=PAGE
                )
            except Unreachable as fault:
                self._gone(str(fault))  # so that `up` follows, and all streams begin again
                raise
            found.update(texts)
            groups.update(some)
            stopped.update(waiting)
            pager.turn(rest["next"], rest["total"])
        self._rows, self.groups, self.stopped = found, groups, stopped
        self._read_at = time.monotonic()

    def _read_ended(self, task: asyncio.Task[None]) -> None:
        self._reading = None
        if not task.cancelled():
            task.exception()  # those who wait for it get it

    async def _flush(self) -> None:
        """Look up the rows that events named and send them, until none is left."""
        try:
            wait = self._flushed + FLUSH_S - time.monotonic()
            await asyncio.sleep(max(FLUSH_SOON_S, wait))
            while self._dirty and self._broadcaster.subscribers:
                names = list(islice(self._dirty, FLUSH_MAX))
                for name in names:
                    del self._dirty[name]
                for place in range(0, len(names), LOOK_MAX):
                    if self._reading is not None:  # it must not put older rows over newer ones
                        await asyncio.wait({self._reading})
                    last = place + LOOK_MAX >= len(names)
                    await self._send_rows(names[place : place + LOOK_MAX], last=last)
                self._flushed = time.monotonic()
                await asyncio.sleep(FLUSH_S)
            if self._dirty:  # the last stream has ended: for the next one everything is read again
                self._dirty.clear()
                self._read_at = 0.0
        except Unreachable as fault:
            self._gone(str(fault))  # when it answers again, all streams begin again
        except RequestFailed as fault:
            log.warning("changes could not be looked up: %s", fault)
            self._read_at = 0.0
        finally:
            self._flushing = None

    async def _send_rows(self, names: list[str], *, last: bool) -> None:
        texts, groups, stopped, rest = await self._client.request("look", _as_texts, names=names, feeds=False)
        self._rows.update(texts)
        self.groups.update(groups)
        self.stopped.difference_update(names)
        self.stopped.update(stopped)
        gone: list[str] = rest["gone"]
        for name in gone:  # where all was read meanwhile, it is not in this copy, but in that of an open stream
            self._rows.pop(name, None)
        self.groups.difference_update(gone)
        summary = to_json(await self.read_summary()) if last else "null"
        rows = ",".join(texts.values())
        self._broadcaster.send("changed", f'{{"rows":[{rows}],"gone":{to_json(gone)},"summary":{summary}}}')


def _as_texts(answer: Any) -> tuple[dict[str, str], list[str], list[str], Any]:
    """Each row as JSON with the time at which it was read, the names of groups, those of rows that wait for a
    program, and the rest of the answer."""
    at = round(time.time(), 3)
    rows = answer.pop("rows")
    texts = {row["name"]: to_json({**row, "at": at}) for row in rows}
    groups, stopped = ([row["name"] for row in rows if key in row] for key in ("group", "stopped_with"))
    return texts, groups, stopped, answer
