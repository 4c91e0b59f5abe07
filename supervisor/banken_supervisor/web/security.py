"""Which requests are allowed. Every request passes here first, and every answer gets safe headers.

* A port is no local trust: every user of this host reaches it, and so does every page in a browser here. So a
  request over TCP needs the token, or, to ping one name, that name's key (``/p/KEY``). Without them are only the
  page's own files and ``/-/healthy``, which are the same everywhere; with ``--open`` also reading and pings. There
  may be a second token, with which a client can only read.
* The Unix socket is for the users that it was made for: the kernel says who connected, and no token is needed.
* A browser on this host must not carry requests of another site's page: the Host header must be on the list (DNS
  rebinding), and Origin and Sec-Fetch-Site must be ours. Exceptions: badges, and links that are followed to a page.
  The page sends the token in a header; a cookie would go to every other port of the host as well.
"""

from __future__ import annotations

import hmac
from time import monotonic
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from banken.errors import AddressRefused
from banken_supervisor.web.backend import Settings
from banken_supervisor.web.errors import answer
from banken_supervisor.web.peers import Connections, Peer
from banken_supervisor.web.ping_keys import PingKeys
from banken_supervisor.web.refusals import Refusals

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

SAME_EVERYWHERE = ("/", "/api", "/api/", "/api/v1/openapi.json", "/-/healthy")
"""What needs no token, beside the files below /static/: it tells nothing of this host."""

WRONG = "a wrong token"
WRONG_KEY = "a wrong ping key"
MISSING = "no token"


class Refusal(Exception):
    """A request that is not allowed: status, a word for the metric, and what to do."""

    def __init__(self, status: int, reason: str, text: str, what: str | None = None) -> None:
        super().__init__(text)
        self.status, self.reason, self.text = status, reason, text
        self.what = what
        """what the log calls it; None: it is not told"""


class SecurityMiddleware:
    """The application behind its checks."""

    def __init__(self, app: ASGIApp, settings: Settings, connections: Connections, refusals: Refusals) -> None:
        self._app = app
        self._settings, self._connections, self._refusals = settings, connections, refusals
        self._keys = PingKeys(settings.ping_keys)
        self._token = settings.token.encode()
        self._read_token = None if settings.read_token is None else settings.read_token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] = decoded(scope["raw_path"])
        peer: Peer = scope["state"]["peer"]
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

        is_free = scope["method"] in READING and (path in SAME_EVERYWHERE or path.startswith("/static/"))
        try:
            scope["path"] = self._allowed_path(scope, Headers(scope=scope), path, peer, is_free=is_free)
        except Refusal as refusal:
            await (await self._refused(scope, refusal, path, peer))(scope, receive, guarded)
            return
        if is_free and peer.has_asked and not self._connections.admit(peer.client, monotonic()):
            self._refusals.total["rate"] += 1
            text = "too many requests without a token came from this client. Try again in a moment"
            await answer(path, 429, text, {"Retry-After": "1", "Connection": "close"})(scope, receive, guarded)
            return
        peer.has_asked = True
        ping = scope["path"].startswith("/ping/")
        # Whoever asks for what is free has shown no right to a connection.
        if not is_free and not self._connections.begin(peer, ping=ping):
            self._refusals.total["full"] += 1
            text = "too many requests are under way; what is left is kept for pings. Try again in a moment"
            await answer(path, 503, text, {"Retry-After": "1", "Connection": "close"})(scope, receive, guarded)
            return
        peer.go_on()
        try:
            # FastAPI has no HEAD for its GET routes. A copy: the server looks at its own scope.
            await self._app({**scope, "method": "GET"} if head else scope, receive, guarded)
        finally:
            if not is_free:
                self._connections.end(peer, ping=ping)

    def _allowed_path(self, scope: Scope, headers: Headers, path: str, peer: Peer, *, is_free: bool) -> str:
        """The path that is served; a Refusal says why none is."""
        reading, ping = scope["method"] in READING, path.startswith(("/ping/", "/p/"))
        if peer.is_local and not peer.is_allowed:
            raise Refusal(
                403,
                "user",
                f"{peer.client} may not use this socket; `banken web --allow USER` allows a user",
                "no right",
            )
        if not peer.is_local:
            self._check_host(headers)
        if not path.startswith("/badge/") and not self._same_site(headers):
            # A link on another page may lead here; its scripts, images and frames may not.
            link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
            if ping or not reading or not link:
                raise Refusal(403, "site", "pages of other sites may not use this; open it by its own address")
        if is_free and ("transfer-encoding" in headers or headers.get("content-length", "0") != "0"):
            raise Refusal(400, "body", "this takes no body")
        if path.startswith("/p/"):
            return self._path_of_key(path)
        is_open = self._settings.open and (reading or ping)
        if not (is_free or is_open or peer.is_local):
            self._check_token(headers, reading=reading, ping=ping)
        return path

    def _check_host(self, headers: Headers) -> None:
        host = headers.get("host", "").lower().removesuffix(".")
        if host not in self._settings.hosts and _without_port(host) not in self._settings.hosts:
            known = ", ".join(sorted(self._settings.hosts))
            text = f"the Host header is not on the list: {known} (`banken web --host NAME` adds one)"
            raise Refusal(421, "host", text)

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

    def _check_token(self, headers: Headers, *, reading: bool, ping: bool) -> None:
        """A Refusal if the request does not carry a token that allows it."""
        given = headers.get("x-banken-token")
        if given is None:
            scheme, _, rest = headers.get("authorization", "").partition(" ")
            given = rest.strip() if scheme.lower() == "bearer" else None
        where = self._settings.where_the_token_is
        if given is None:
            how = "`X-Banken-Token: TOKEN` or `Authorization: Bearer TOKEN`"
            text = f"this needs the token. {where}; send it as {how}"
            if ping:
                text += ". A ping can have a key instead: `banken ping-key NAME` prints it, and /p/KEY feeds NAME"
            raise Refusal(401, "no-token", text, MISSING)
        if hmac.compare_digest(given.encode(), self._token):
            return
        if self._read_token is None or not hmac.compare_digest(given.encode(), self._read_token):
            raise Refusal(401, "token", f"the given token is not the right one. {where}", WRONG)

        if ping or not reading:
            text = f"with this token you can only read; for the rest there is another one. {where}"
            raise Refusal(403, "read-only", text)

    def _path_of_key(self, path: str) -> str:
        """``/p/KEY…`` as the ping of the key's name."""
        _, _, key, *rest = path.split("/")
        try:
            name = self._keys.name_of(key)
        except AddressRefused as fault:
            raise Refusal(503, "keys", str(fault)) from None
        if name is None:
            text = "this is no ping key, or it was revoked; `banken ping-key NAME` prints one"
            raise Refusal(403, "key", text, WRONG_KEY)
        return "/".join(["/ping", name.replace("/", "%2F"), *rest])

    async def _refused(self, scope: Scope, refusal: Refusal, path: str, peer: Peer) -> ASGIApp:
        """The answer to a request that is not allowed, after a while where something was guessed."""
        status, text = refusal.status, refusal.text
        self._refusals.total[refusal.reason] += 1
        headers: dict[str, str] = {}
        if refusal.what is not None:
            self._refusals.count(refusal.what, peer)
        if refusal.what in (WRONG, WRONG_KEY) and not await self._refusals.slow_down(peer):
            status, text = 429, "too many wrong tokens or keys came from this client; try again later"
            headers = {"Retry-After": "2"}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        # The rest of a body will not be read. And a client's connections are counted, its requests on one are not.
        headers["Connection"] = "close"
        return answer(path, status, text, headers)


def decoded(raw_path: bytes) -> str:
    """The path decoded, except ``%2F`` and ``%25``: a watchdog's name may hold a slash.

    What remains encoded is decoded once more, and only once, when a name is taken out of the path.
    """
    parts = raw_path.decode("ascii", "replace").split("/")
    return "/".join(unquote(part, errors="replace").replace("%", "%25").replace("/", "%2F") for part in parts)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
