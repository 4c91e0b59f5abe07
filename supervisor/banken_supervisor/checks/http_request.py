"""One request and its answer, bounded in size and redirects; the time is the caller's.

h11 has the rules of HTTP/1.1; connection and TLS are asyncio's. The proxies of the environment are not used: a
check must not depend on how the supervisor was started.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import contextlib
import os
import re
import ssl
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

import h11

from banken_supervisor.checks import json_values
from banken_supervisor.checks.blocking import call
from banken_supervisor.checks.connection import BODY_MAX, READ, connect
from banken_supervisor.checks.progress import Progress
from banken_supervisor.text.durations import format_s
from banken_supervisor.text.quoting import quoted

SHOWN_MAX = 2048
"""Bytes of the body of a refusal that are read."""

SHOWN_S = 0.3
"""Seconds for them: the status is known already."""

_bytes = re.compile(r"(?:bytearray\()?\b(b(['\"]).*\2)\)?", re.DOTALL)

_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"})
"""Reasons of OpenSSL's where what comes is no record of TLS."""

_contexts: dict[str | None, tuple[int, ssl.SSLContext]] = {}
"""by the file of authorities, with the time of its last change"""


class Request(NamedTuple):
    """What is asked for."""

    url: str
    method: str
    headers: Mapping[str, str]
    host: str | None
    """in place of the URL's, for Host and TLS"""
    ca_file: str | None
    redirects: int
    statuses: tuple[tuple[int, int], ...]
    """those that pass"""
    wants_body: bool

    def passes(self, status: int) -> bool:
        return any(least <= status <= most for least, most in self.statuses)


class Answer(NamedTuple):
    """What came."""

    wrong: str | None
    """why it is no good, whatever else is expected; None: it may be"""
    words: str = ""
    """such as ``200 OK``"""
    body: bytes = b""
    is_whole: bool = True
    valid_s: float | None = None
    """seconds for which the certificate is valid; None: there is none"""

    @property
    def lasts(self) -> str:
        """How long the certificate does, for people; empty: there is none."""
        return "" if self.valid_s is None else f"; its certificate is valid for another {format_s(self.valid_s)}"

    def judge(self, expires: float | None, contains: str | None, json: Mapping[str, Any] | None) -> str | None:
        """What is wrong with it; None: nothing."""
        if expires is not None and (self.valid_s or 0.0) < expires:
            return f"its certificate ends in {format_s(self.valid_s or 0.0)}; {format_s(expires)} were expected"
        if contains is not None and contains.encode() not in self.body:
            where = "its body" if self.is_whole else f"the first {BODY_MAX // 1024} KiB of its body"
            begins = quoted(self.body[:80].decode("utf-8", "backslashreplace"), 80)
            return f"{self.words}, but {quoted(contains)} is not in {where}, which begins with {begins}"
        if json is not None:
            if not self.is_whole:
                return f"its body has more than {BODY_MAX // 1024} KiB: as JSON it is not read"
            return json_values.judge(self.body, json)
        return None


class _Target(NamedTuple):
    scheme: str
    host: str
    port: int
    path: str
    user: str | None
    """user:password"""


def _target(url: str) -> _Target:
    """ValueError: it is no address."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(url)
    user = None
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Target(parts.scheme, parts.hostname, port, path, user)


async def ask(request: Request, progress: Progress) -> Answer:
    """The answer at the end of all redirects. OSError: there is none."""
    url, asked, followed = request.url, request, 0
    while True:
        try:
            answer, to = await _ask_once(_target(url), asked, progress)
        except h11.RemoteProtocolError as fault:
            if "ConnectionClosed" in str(fault):
                return Answer("it closed the connection without an answer")
            return Answer(f"what it answers is no HTTP/1.1: {_without_bytes(str(fault))}")
        except h11.LocalProtocolError as fault:
            return Answer(f"the request cannot be sent: {fault}")
        except ssl.SSLCertVerificationError as fault:
            return Answer(f"its certificate is not trusted: {fault.verify_message}")
        except ssl.SSLError as fault:
            if fault.reason in _NO_TLS:
                return Answer("connected, but what answers speaks no TLS; is it an http:// address?")
            return Answer(f"TLS fails: {(fault.reason or str(fault)).replace('_', ' ').lower()}")
        if to is None:
            return answer
        followed += 1
        if followed > request.redirects:
            most = f"more than {request.redirects} redirects" if request.redirects else "redirects"
            return Answer(f"{answer.words} leads to {quoted(to, 120)}: {most} are not followed")
        try:
            url, before = urljoin(url, to), _target(url)
            if _target(url)[:3] != before[:3]:  # what is secret is for the host that was named
                asked = request._replace(headers={}, host=None)
        except ValueError:
            return Answer(f"{answer.words} leads to {quoted(to, 120)}, which is no address")


async def _ask_once(target: _Target, request: Request, progress: Progress) -> tuple[Answer, str | None]:
    """The answer, and where it leads, if that is to be followed."""
    options: dict[str, Any] = {}
    if target.scheme == "https":
        progress.text = f"the file system of {request.ca_file} does not answer"
        name = target.host if request.host is None else request.host.partition(":")[0]
        options = {"ssl": await _context_of(request.ca_file), "server_hostname": name}
    progress.text = f"the address of {target.host} is looked up"
    sock = await connect(target.host, target.port, progress)
    if options:
        progress.text = "connected, but TLS does not begin"
    try:
        reader, writer = await asyncio.open_connection(sock=sock, limit=READ, **options)
    except BaseException:
        sock.close()
        raise
    try:
        return await _exchange(reader, writer, target, request, progress)
    finally:
        writer.transport.abort()


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    target: _Target,
    request: Request,
    progress: Progress,
) -> tuple[Answer, str | None]:
    connection = h11.Connection(h11.CLIENT)
    progress.text = "connected, but the request is not taken"
    message = h11.Request(method=request.method, target=target.path, headers=_headers(target, request))
    sent = connection.send(message) + connection.send(h11.EndOfMessage())
    writer.write(sent)
    await writer.drain()
    progress.text = "connected, but no answer came"
    response = await _next(connection, reader, progress)
    while isinstance(response, h11.InformationalResponse):
        response = await _next(connection, reader, progress)
    assert isinstance(response, h11.Response)
    status = response.status_code
    words = f"{status} {bytes(response.reason).decode('ascii', 'replace')}".strip()
    valid_s = _valid_s(writer)
    if request.passes(status):
        progress.text = f"{words}, but its body does not end"
        body, is_whole = await _body(connection, reader, BODY_MAX) if request.wants_body else (b"", True)
        return Answer(None, words, body, is_whole, valid_s), None
    to = next((value.decode("latin-1") for key, value in response.headers if key == b"location"), None)
    if to is not None and status in (301, 302, 303, 307, 308):
        return Answer(None, words), to
    body = b""
    with contextlib.suppress(TimeoutError, OSError, h11.RemoteProtocolError):
        async with asyncio.timeout(SHOWN_S):
            body, _ = await _body(connection, reader, SHOWN_MAX)
    wanted = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in request.statuses)
    said = " ".join(body.decode("utf-8", "backslashreplace").split())
    return Answer(f"{words}, {wanted} was expected{': ' if said else ''}{said[:200]}"), None


def _headers(target: _Target, request: Request) -> list[tuple[str, str]]:
    default = target.port == (443 if target.scheme == "https" else 80)
    host = f"[{target.host}]" if ":" in target.host else target.host
    own = request.headers
    given = {"User-Agent": "banken", "Accept": "*/*", "Accept-Encoding": "identity"}
    if request.method in ("POST", "PUT"):
        given["Content-Length"] = "0"
    if target.user is not None:
        given["Authorization"] = "Basic " + base64.b64encode(target.user.encode()).decode()
    mine = {key.lower() for key in own}
    return [
        ("Host", request.host or (host if default else f"{host}:{target.port}")),
        *((key, value) for key, value in given.items() if key.lower() not in mine),
        ("Connection", "close"),
        *own.items(),
    ]


async def _next(connection: h11.Connection, reader: asyncio.StreamReader, progress: Progress | None = None) -> Any:
    """The next event of what the server sends. ``progress``: of the head of its answer."""
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(READ))
        if progress is not None:
            progress.text = "connected, but the head of its answer does not end"
    return event


def _without_bytes(text: str) -> str:
    """A text of h11's, which shows what came as Python writes bytes."""

    def words(found: re.Match[str]) -> str:
        try:
            return quoted(ast.literal_eval(found[1]).decode("utf-8", "backslashreplace"), 80)
        except (ValueError, SyntaxError):
            return quoted(found[1], 80)

    return _bytes.sub(words, text)


async def _body(connection: h11.Connection, reader: asyncio.StreamReader, most: int) -> tuple[bytes, bool]:
    """At most so much of the body, and whether that is all."""
    body = bytearray()
    while isinstance(event := await _next(connection, reader), h11.Data):
        body += event.data
        if len(body) > most:
            return bytes(body[:most]), False
    return bytes(body), True


async def _context_of(ca_file: str | None) -> ssl.SSLContext:
    """A file that the operator names may lie on a dead mount."""
    return _context(None) if ca_file is None else await call(("ca_file", ca_file), partial(_context, ca_file))


def _context(ca_file: str | None) -> ssl.SSLContext:
    """Made again when the file has changed."""
    changed = 0 if ca_file is None else os.stat(ca_file).st_mtime_ns
    if (made := _contexts.get(ca_file)) is not None and made[0] == changed:
        return made[1]
    context = ssl.create_default_context(cafile=ca_file)
    # From Python 3.13 on it refuses authorities of one's own that lack an extension; other clients take them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    _contexts[ca_file] = changed, context
    return context


def _valid_s(writer: asyncio.StreamWriter) -> float | None:
    """Seconds until the server's certificate ends."""
    secured = writer.get_extra_info("ssl_object")
    ends = None if secured is None else (secured.getpeercert() or {}).get("notAfter")
    return None if ends is None else ssl.cert_time_to_seconds(ends) - time.time()
