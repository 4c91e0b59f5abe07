"""Who may ask for what. All that arrives passes here first, and every answer leaves with safe headers.

* A page of somebody else's must not reach us through a browser on this host: by a name that it made to resolve to
  127.0.0.1 (the Host header must be on the list), nor by a form or a script (Origin and Sec-Fetch-Site
  must be ours).
* What changes anything wants the token; a ping from this host does not, unless it was asked for.
"""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from banken_supervisor.web.backend import Settings
from banken_supervisor.web.problems import answer_for

SAFE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

READING = ("GET", "HEAD")


class Gate:
    """The application behind its checks."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] = segments(scope["raw_path"])
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers, path)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name, value in SAFE_HEADERS.items():
                    out.setdefault(name, value)
                out.setdefault("Cross-Origin-Resource-Policy", _embedding(path))
            await send(message)

        if refusal is None:
            await self._app(scope, receive, guarded)
        else:
            status, text = refusal
            more = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
            # What of the body has not been read is not going to be.
            closing = {} if scope["method"] in READING else {"Connection": "close"}
            await answer_for(path, status, text, {**more, **closing})(scope, receive, guarded)

    def _refusal(self, scope: Scope, headers: Headers, path: str) -> tuple[int, str] | None:
        """(status, why) if it is refused."""
        if not self._ours(headers.get("host", "")):
            known = ", ".join(sorted(self._settings.hosts))
            return 421, f"this is not the host that was asked for; it is served as {known} (`--host NAME` adds one)"
        if path.startswith("/ping/"):
            if not self._same_site(headers):
                return 403, "a page of another site may not ping"
            here = _loopback(scope) and not self._settings.ping_token
            return None if here else self._without_token(headers)
        if not path.startswith("/api/"):
            return None
        if scope["method"] in READING:
            # An address that was typed or a link that was followed may lead here; another site's script may not.
            followed = headers.get("sec-fetch-mode") == "navigate"
            return (
                None if followed or self._same_site(headers) else (403, "a page of another site may not read this")
            )
        if not self._same_site(headers):
            return 403, "a page of another site may not do this"
        return self._without_token(headers)

    def _ours(self, host: str) -> bool:
        """Whether a Host header is on the list."""
        host = host.lower().removesuffix(".")
        return host in self._settings.hosts or _without_port(host) in self._settings.hosts

    def _same_site(self, headers: Headers) -> bool:
        """False for what a browser sends on behalf of another site's page."""
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return False
        origin, host = headers.get("origin"), headers.get("host", "").lower()
        if origin is None:
            return True
        whose = origin.partition("://")[2].lower()
        # A proxy may leave the port out of the Host header; one that is on the list with its port has it.
        return whose == host or _without_port(whose) == host

    def _without_token(self, headers: Headers) -> tuple[int, str] | None:
        """(status, why) if it does not carry the token."""
        given = headers.get("x-banken-token")
        if given is None:
            scheme, _, rest = headers.get("authorization", "").partition(" ")
            given = rest.strip() if scheme.lower() == "bearer" else None
        if given is None:
            return 401, "this wants the token: `Authorization: Bearer TOKEN`, or `X-Banken-Token: TOKEN`"
        if not hmac.compare_digest(given.encode("utf-8"), self._settings.token.encode("utf-8")):
            return 401, "that is not the token"
        return None


def segments(raw_path: bytes) -> str:
    """The path decoded, but for a ``/`` that was written as ``%2F``: a watchdog's name may hold one."""
    parts = raw_path.decode("ascii", "replace").split("/")
    return "/".join(unquote(part, errors="replace").replace("/", "%2F") for part in parts)


def _embedding(path: str) -> str:
    """Badges are for other pages; nothing else is."""
    return "cross-origin" if path.startswith("/badge/") else "same-origin"


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def _loopback(scope: Scope) -> bool:
    client = scope.get("client")
    try:
        return client is not None and ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False
