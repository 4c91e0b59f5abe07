"""Which requests are allowed. Every request passes here first, and every answer gets safe headers.

* A browser on this host must not carry requests of another site's page: the Host header must be on the list (DNS
  rebinding), and Origin and Sec-Fetch-Site must be ours. Exceptions: badges, and links that are followed to a page.
* Requests that change something need the token; a ping from this host does not, unless ``--ping-token`` was given.
"""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from banken_supervisor.web.backend import Settings
from banken_supervisor.web.errors import answer

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


class SecurityMiddleware:
    """The application behind its checks."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] = decoded(scope["raw_path"])
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers, path)

        head = scope["method"] == "HEAD"

        async def guarded(message: Message) -> None:
            starts = message["type"] == "http.response.start"
            if head and not starts:
                return
            if starts:
                out = MutableHeaders(scope=message)
                for name, value in SAFE_HEADERS.items():
                    out.setdefault(name, value)
                # Badges are for other pages; nothing else is.
                embedding = "cross-origin" if path.startswith("/badge/") else "same-origin"
                out.setdefault("Cross-Origin-Resource-Policy", embedding)
            await send(message)
            if head:  # the answer ends here, for a stream, too
                await send({"type": "http.response.body", "body": b""})

        if refusal is None:
            # FastAPI has no HEAD for its GET routes. A copy: the server looks at its own scope.
            await self._app({**scope, "method": "GET"} if head else scope, receive, guarded)
        else:
            status, text = refusal
            more = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
            # The rest of the body will not be read.
            closing = {} if scope["method"] in READING else {"Connection": "close"}
            await answer(path, status, text, {**more, **closing})(scope, receive, guarded)

    def _refusal(self, scope: Scope, headers: Headers, path: str) -> tuple[int, str] | None:
        """The status and the reason if the request is refused."""
        host = headers.get("host", "").lower().removesuffix(".")
        if host not in self._settings.hosts and _without_port(host) not in self._settings.hosts:
            known = ", ".join(sorted(self._settings.hosts))
            return 421, f"the Host header is not on the list: {known} (`banken web --host NAME` adds one)"
        reading, ping = scope["method"] in READING, path.startswith("/ping/")
        if not path.startswith("/badge/") and not self._same_site(headers):
            # A link on another page may lead here; its scripts, images and frames may not.
            link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
            if ping or not reading or not link:
                return 403, "pages of other sites may not use this; open it by its own address"
        if ping:
            free = _from_loopback(scope) and not self._settings.ping_token
        else:
            free = reading or not path.startswith("/api/")
        return None if free else self._without_token(headers)

    def _same_site(self, headers: Headers) -> bool:
        """False if a browser sent the request for another site's page."""
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return False
        origin, host = headers.get("origin"), headers.get("host", "").lower()
        if origin is None:
            return True
        whose = origin.partition("://")[2].lower()
        # A proxy may leave the port out of the Host header.
        return whose == host or _without_port(whose) == host

    def _without_token(self, headers: Headers) -> tuple[int, str] | None:
        """The status and the reason if the request does not carry the token."""
        given = headers.get("x-banken-token")
        if given is None:
            scheme, _, rest = headers.get("authorization", "").partition(" ")
            given = rest.strip() if scheme.lower() == "bearer" else None
        if given is None:
            return 401, "this needs the token: `Authorization: Bearer TOKEN`, or `X-Banken-Token: TOKEN`"
        if not hmac.compare_digest(given.encode("utf-8"), self._settings.token.encode("utf-8")):
            return 401, "the given token is not the right one"
        return None


def decoded(raw_path: bytes) -> str:
    """The path decoded, except ``%2F`` and ``%25``: a watchdog's name may hold a slash.

    What remains encoded is decoded once more, and only once, when a name is taken out of the path.
    """
    parts = raw_path.decode("ascii", "replace").split("/")
    return "/".join(unquote(part, errors="replace").replace("%", "%25").replace("/", "%2F") for part in parts)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def _from_loopback(scope: Scope) -> bool:
    client = scope.get("client")
    try:
        return client is not None and ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False
