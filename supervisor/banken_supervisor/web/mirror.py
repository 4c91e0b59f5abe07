"""One copy of all rows, kept up to date by the supervisor's events and shared by all streams.

A row is kept as the JSON that is sent: text costs a third of what its parts would, and is made once for everybody,
on the asker's thread. Feeds are no events, so ``left`` and ``silence`` are those of the moment at which the row was
read, which it says (``at``); a stream that begins gets rows that are at most ``FRESH_S`` old.
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
from banken_supervisor.web.asker import Asker
from banken_supervisor.web.hub import Hub
from banken_supervisor.web.texts import to_json

FRESH_S = 2.0
"""Rows read longer ago are read again for a stream that begins."""

FLUSH_S = 0.25
"""Changes are looked up, and told, at most so often."""

FLUSH_SOON_S = 0.02
"""How long after the first of several events; those of one moment come together."""

BEAT_S = 2.0
"""How often the summary is read while anybody listens."""

LOOK_MAX = 200
FLUSH_MAX = 1_000
"""Names in one look, and in all looks of one flush; what is over waits for the next."""

PAGE = 500
CHUNK = 100
GROUPS_MAX = 100

log = logging.getLogger("banken.web")


class Mirror:
    """What the supervisor last said of everything. Lives in one event loop."""

    def __init__(self, asker: Asker, hub: Hub) -> None:
        self.up = False
        """a supervisor is connected and answers"""
        self.error = "no supervisor has answered yet"
        """why not"""
        self.session: str | None = None
        """which run of which supervisor"""
        self.summary: dict[str, Any] | None = None
        self.groups: set[str] = set()
        """names of rows that stand for a group"""
        self.seq = 0
        self._asker, self._hub = asker, hub
        self._rows: dict[str, str] = {}
        self._read_at = 0.0
        self._reading: asyncio.Task[None] | None = None
        self._dirty: dict[str, None] = {}
        self._flushing: asyncio.Task[None] | None = None
        self._flushed = 0.0
        self._linked = False
        self._checking = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._beat = asyncio.get_running_loop().create_task(self._beats())

    # -- told by the follower -----------------------------------------------------------------------

    def linked(self, there: bool) -> None:
        """A connection to a supervisor was made or lost."""
        self._linked = self._asker.connected = there
        if there:
            self._spawn(self._check())
        else:
            self._gone("the supervisor is not running, or restarting: its connection was lost")

    def heard(self, events: list[dict[str, Any]]) -> None:
        """Pass events on, and note whom they are about."""
        watched = bool(self._hub.listeners)
        lost = False
        for event in events:
            seq = event.get("seq")
            if type(seq) is int:
                lost = lost or (self.seq > 0 and seq > self.seq + 1)
                self.seq = seq
            if watched:
                self._hub.say("event", to_json(event), f"{self.session or 0}-{seq}")
            name = event.get("name")
            if type(name) is str:
                self._dirty[name] = None
        if self.groups and len(self.groups) <= GROUPS_MAX:
            self._dirty.update(dict.fromkeys(self.groups))  # a member's change is its group's
        if lost:
            log.warning("events were lost: everything is read again")
            self._read_at = 0.0
            self._hub.renew()
        if not watched:
            self._dirty.clear()  # whoever comes has everything read again
            self._read_at = 0.0
        elif self._dirty and self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush())

    # -- asked by streams and answers ---------------------------------------------------------------

    def greeting(self) -> str:
        """The data of ``hello``."""
        told = {"up": self.up, "session": self.session, "summary": self.summary}
        return to_json(told if self.up else {**told, "error": self.error})

    async def fresh(self) -> None:
        """Have rows not older than ``FRESH_S``; those who ask at one time share one reading. Unreachable."""
        if time.monotonic() - self._read_at < FRESH_S:
            return
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())
            self._reading.add_done_callback(self._read_ended)
        await asyncio.shield(self._reading)

    def chunks(self) -> Iterator[str]:
        """The data of ``rows``, one piece after the other, each as the rows are when it is taken."""
        names = list(self._rows)
        for place in range(0, max(1, len(names)), CHUNK):
            texts = [text for name in names[place : place + CHUNK] if (text := self._rows.get(name)) is not None]
            complete = "true" if place + CHUNK >= len(names) else "false"
            yield f'{{"rows":[{",".join(texts)}],"complete":{complete}}}'

    async def ask_summary(self) -> dict[str, Any]:
        """The supervisor's summary as it is now. Unreachable."""
        try:
            summary: dict[str, Any] = await self._asker.ask("summary")
        except Unreachable as fault:
            self._gone(str(fault))
            raise
        self.summary = summary
        self.session = f"{summary['pid']}.{int(summary['started'] * 1000)}"
        return summary

    def close(self) -> None:
        """Do nothing any more."""
        for task in (self._beat, self._reading, self._flushing, *self._tasks):
            if task is not None:
                task.cancel()

    # -- inside -------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _gone(self, why: str) -> None:
        self.error = why
        if self.up:
            self.up = False
            log.warning("the supervisor does not answer: %s", why)
            self._hub.say("down", to_json({"error": why}))

    async def _check(self) -> None:
        """Whether the supervisor answers, and whether it is the one that answered before."""
        if self._checking:
            return
        self._checking = True
        before = self.session
        try:
            await self.ask_summary()
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
        self._hub.say("up", self.greeting())
        self._hub.renew()

    async def _beats(self) -> None:
        """Look whether the supervisor answers, and tell the listeners its counts."""
        while True:
            await asyncio.sleep(BEAT_S)
            self._asker.connected = self._linked  # where none ever was, no connection is lost either
            if not self._linked or (self.up and not self._hub.listeners):
                continue
            if not self.up:
                await self._check()
            elif self._flushing is None:
                with contextlib.suppress(Unreachable, RequestFailed):
                    summary = await self.ask_summary()
                    self._hub.say("changed", to_json({"rows": [], "gone": [], "summary": summary}))

    async def _read(self) -> None:
        """Read everything, a page at a time."""
        self._dirty.clear()
        found: dict[str, str] = {}
        groups: set[str] = set()
        place: int | None = 0
        total: int | None = None
        while place is not None:
            texts, some, after, count = await self._asker.ask("status", _page, offset=place, limit=PAGE)
            found.update(texts)
            groups.update(some)
            place = after
            if total is not None and count < total and place is not None:
                place = max(0, place - (total - count))  # those behind the released ones moved up
            total = count
        self._rows, self.groups = found, groups
        self._read_at = time.monotonic()

    def _read_ended(self, task: asyncio.Task[None]) -> None:
        self._reading = None
        if not task.cancelled():
            task.exception()  # whoever waits for it is told

    async def _flush(self) -> None:
        """Look up those that events named, tell what became of them, until none is left."""
        try:
            wait = self._flushed + FLUSH_S - time.monotonic()
            await asyncio.sleep(max(FLUSH_SOON_S, wait))
            while self._dirty and self._hub.listeners:
                names = list(islice(self._dirty, FLUSH_MAX))
                for name in names:
                    del self._dirty[name]
                for place in range(0, len(names), LOOK_MAX):
                    if self._reading is not None:  # it must not put older rows over newer ones
                        await asyncio.wait({self._reading})
                    last = place + LOOK_MAX >= len(names)
                    await self._tell(names[place : place + LOOK_MAX], last=last)
                self._flushed = time.monotonic()
                await asyncio.sleep(FLUSH_S)
            if self._dirty:  # the last listener has gone: for the next one everything is read again
                self._dirty.clear()
                self._read_at = 0.0
        except Unreachable as fault:
            self._gone(str(fault))  # when it answers again, everything is told anew
        except RequestFailed as fault:
            log.warning("changes could not be looked up: %s", fault)
            self._read_at = 0.0
        finally:
            self._flushing = None

    async def _tell(self, names: list[str], *, last: bool) -> None:
        texts, groups, gone = await self._asker.ask("look", _looked, names=names, feeds=False)
        self._rows.update(texts)
        self.groups.update(groups)
        known = [name for name in gone if self._rows.pop(name, None) is not None]
        self.groups.difference_update(known)
        summary = to_json(await self.ask_summary()) if last else "null"
        rows = ",".join(texts.values())
        self._hub.say("changed", f'{{"rows":[{rows}],"gone":{to_json(known)},"summary":{summary}}}')


def _page(answer: Any) -> tuple[dict[str, str], list[str], int | None, int]:
    return (*_texts(answer["rows"]), answer["next"], answer["total"])


def _looked(answer: Any) -> tuple[dict[str, str], list[str], list[str]]:
    return (*_texts(answer["rows"]), answer["gone"])


def _texts(rows: list[dict[str, Any]]) -> tuple[dict[str, str], list[str]]:
    """Each row as JSON with the time at which it was true, and the names of groups."""
    at = round(time.time(), 3)
    return {row["name"]: to_json({**row, "at": at}) for row in rows}, [
        row["name"] for row in rows if "group" in row
    ]
