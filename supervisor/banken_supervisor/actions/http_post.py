"""One HTTP request that ends in time, whatever the server does (socket_deadline.py).

The connection is made directly and not through urllib3's pool, because the pool logs paths.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Mapping
from http.client import HTTPException
from time import monotonic
from typing import Any, NamedTuple

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry

from banken_supervisor.actions.log_suppression import logs_suppressed
from banken_supervisor.actions.options import Address
from banken_supervisor.actions.socket_deadline import shut_after
from banken_supervisor.text.sanitize import line

CONNECT_S = 10.0
READ_S = 10.0
"""Seconds between two bytes of the answer."""

BODY_MAX = 2048
"""Bytes of an answer's body that are read, and only of a refusal."""

BODY_S = 1.0
"""Seconds for that body: its status is known already."""


_AGAIN = frozenset({408, 425, 429})
"""Statuses after which another attempt may help, as after all from 500 on."""


class Answer(NamedTuple):
    """The result of one attempt."""

    status: int | None
    text: str
    retry_after: float | None = None
    """seconds"""

    @property
    def again(self) -> bool:
        return self.status is None or self.status >= 500 or self.status in _AGAIN


def post(address: Address, ca_file: str | None, headers: Mapping[str, str], body: bytes, deadline: float) -> Answer:
    """One POST, ended by ``deadline`` (monotonic time, seconds)."""
    return _request("POST", address, ca_file, headers, body, deadline)


def fetch(address: Address, deadline: float) -> Answer:
    """One GET, ended by ``deadline`` (monotonic time, seconds)."""
    return _request("GET", address, None, {"User-Agent": "banken", "Connection": "close"}, None, deadline)


def _request(
    method: str,
    address: Address,
    ca_file: str | None,
    headers: Mapping[str, str],
    body: bytes | None,
    deadline: float,
) -> Answer:
    left = deadline - monotonic()
    if left <= 0:
        return Answer(None, "no time was left")
    settings: Any = {"host": address.host, "port": address.port, "timeout": min(CONNECT_S, left)}
    if address.scheme == "http":
        connection = HTTPConnection(**settings)
    else:
        connection = HTTPSConnection(**settings, ssl_context=ssl.create_default_context(cafile=ca_file))
    try:
        with logs_suppressed("urllib3.connection", "urllib3.util.retry"):
            connection.connect()
            sock = connection.sock
            left = max(0.01, deadline - monotonic())
            connection.timeout = min(READ_S, left)
            with shut_after(sock, left) as cut:
                connection.request(method, address.path, body, headers, preload_content=False, decode_content=False)
                response = connection.getresponse()
            with contextlib.closing(response):
                if cut.is_set():  # http.client takes headers that break off for whole ones
                    raise TimeoutError("the answer broke off at the deadline")
                return _answer(response, sock, deadline)
    except (OSError, HTTPException, HTTPError) as fault:
        if monotonic() >= deadline:
            return Answer(None, "no whole answer within the time given")
        reason = getattr(fault, "reason", None)
        return Answer(None, line(f"{type(fault).__name__}: {reason if isinstance(reason, Exception) else fault}"))
    finally:
        connection.close()


def _answer(response: BaseHTTPResponse, sock: socket.socket, deadline: float) -> Answer:
    status = response.status
    if 200 <= status < 300:
        return Answer(status, f"taken with {status}")
    if 300 <= status < 400:
        return Answer(status, f"answered {status}: redirects are not followed")
    content = b""
    with (
        contextlib.suppress(OSError, HTTPException, HTTPError),
        shut_after(sock, min(BODY_S, deadline - monotonic())),
    ):
        content = response.read(BODY_MAX) or b""
    words = line(content.decode("utf-8", "backslashreplace").strip(), 300)
    text = f"answered {status}{': ' if words else ''}{words}"
    return Answer(status, text, retry_after(response))


def retry_after(response: BaseHTTPResponse) -> float | None:
    """Seconds that a server asks to wait; None: it does not, or unreadably."""
    with contextlib.suppress(HTTPError, ValueError, OverflowError):
        return Retry().get_retry_after(response)
    return None
