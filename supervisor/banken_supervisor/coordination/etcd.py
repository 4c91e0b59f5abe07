"""The store on etcd, by its JSON gateway.

Of its interface only ``kv/range``, ``kv/txn``, ``auth/authenticate`` and ``maintenance/status`` are used, all of
which etcd has since 3.4 (https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/). A call has one deadline, which its
attempts share. It begins with the endpoint that answered last, and goes on with the next one at any fault. Reads
are linearizable, but for glances; an answer of an older Raft term than one that was seen comes from a member that
the others have left behind, and is not believed. (Patroni's ``dcs/etcd3.py`` came to the same.)
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterator, Mapping, Sequence
from http.client import HTTPException, RemoteDisconnected
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from banken_supervisor.actions.log_suppression import logs_suppressed
from banken_supervisor.actions.socket_deadline import shut_after
from banken_supervisor.coordination.store import Away, Done, Item, Refused, Snapshot, check_transaction
from banken_supervisor.text.cluster_text import REFUSES
from banken_supervisor.text.sanitize import ODD, line

ANSWER_MAX = 32 * 1024 * 1024
"""Bytes of an answer: ten thousand claims are a third of it."""

TRY_MIN_S = 0.05
"""Seconds that an attempt gets at least, as long as they are left."""

_INVALID, _NOT_PERMITTED, _UNAUTHENTICATED = 3, 7, 16
"""gRPC's status codes (google.rpc.Code): of a wrong password, say; of what a user may not; of a token that is
refused."""

REFUSALS = frozenset({_INVALID, _NOT_PERMITTED, _UNAUTHENTICATED})


class Account(NamedTuple):
    """A user of etcd."""

    user: str
    password: str


class EtcdStatus(NamedTuple):
    """How a member of etcd is."""

    endpoint: str
    version: str
    size: int
    """bytes of its database"""
    seconds: float
    """that the answer took"""


class _Fault(Exception):
    """One attempt gave no answer. ``code``: gRPC's, if the member gave one."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


class EtcdStore:
    """The keys below ``base``, which begins none of the keys that callers name. For one thread.

    ``endpoints``: URLs, http or https, of members of one cluster. ``tls``: for https, with the client's certificate
    if etcd asks for one. ``account``: where etcd has users; a token that is refused is asked for again.
    """

    def __init__(
        self, endpoints: Sequence[str], base: str, tls: ssl.SSLContext | None = None, account: Account | None = None
    ) -> None:
        self._endpoints = [_Endpoint(each, tls) for each in endpoints]
        self._base = base
        self._account = account
        self._token = ""
        self._terms: dict[str, int] = {}
        """by identity of a cluster: the newest Raft term that was seen"""

    @property
    def endpoint(self) -> str:
        """The one that is asked first: that which answered last."""
        return self._endpoints[0].url

    def read(self, prefix: str, within: float) -> Snapshot:
        """See ``Store``."""
        return self._range(prefix, within)

    def glance(self, prefix: str, within: float) -> Snapshot:
        """See ``Store``."""
        return self._range(prefix, within, serializable=True)

    def _range(self, prefix: str, within: float, **more: bool) -> Snapshot:
        begin = (self._base + prefix).encode()
        answer = self._ask("kv/range", {"key": _text(begin), "range_end": _text(_after(begin)), **more}, within)
        with _understood():
            if answer.get("more"):
                raise ValueError("a part of the keys")
            header = answer["header"]
            return Snapshot(int(header["revision"]), str(header["cluster_id"]), self._items(answer))

    def transact(
        self, expect: Mapping[str, int], put: Mapping[str, bytes], drop: Collection[str], within: float
    ) -> Done | Refused:
        """See ``Store``."""
        check_transaction(expect, put, drop)
        body = {
            "compare": [
                {"key": self._key(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(mod)}
                for key, mod in expect.items()
            ],
            "success": [
                *({"request_put": {"key": self._key(key), "value": _text(value)}} for key, value in put.items()),
                *({"request_delete_range": {"key": self._key(key)}} for key in drop),
            ],
            "failure": [{"request_range": {"key": self._key(key)}} for key in expect],
        }
        answer = self._ask("kv/txn", body, within)
        with _understood():
            if answer.get("succeeded"):
                return Done(int(answer["header"]["revision"]))
            responses = answer.get("responses", [])
            if len(responses) != len(expect):
                raise ValueError(f"{len(responses)} answers to {len(expect)} questions")
            found: dict[str, Item] = {}
            for each in responses:
                found |= self._items(each["response_range"])
            return Refused(found)

    def status(self, within: float) -> EtcdStatus:
        """How the member is that answers first. Away."""
        begun = monotonic()
        answer = self._ask("maintenance/status", {}, within)
        with _understood():
            return EtcdStatus(self.endpoint, str(answer["version"]), int(answer["dbSize"]), monotonic() - begun)

    def close(self) -> None:
        """See ``Store``."""
        for each in self._endpoints:
            each.close()

    def _key(self, key: str) -> str:
        return _text((self._base + key).encode())

    def _items(self, answer: Mapping[str, Any]) -> dict[str, Item]:
        found = {}
        for each in answer.get("kvs", ()):
            key = b64decode(each["key"], validate=True).decode()
            if not key.startswith(self._base):
                raise ValueError(f"the key {key!r}, which was not asked for")
            value = b64decode(each.get("value", ""), validate=True)
            found[key.removeprefix(self._base)] = Item(
                value, int(each["mod_revision"]), int(each["create_revision"])
            )
        return found

    def _ask(self, path: str, body: Mapping[str, Any], within: float) -> dict[str, Any]:
        """The first answer that an endpoint gives in time. Away."""
        deadline, faults, is_refused = monotonic() + within, [], False
        for attempts in range(len(self._endpoints), 0, -1):
            left = deadline - monotonic()
            if left <= 0.0:
                break
            endpoint = self._endpoints[0]
            until = min(deadline, monotonic() + max(TRY_MIN_S, left / attempts))
            try:
                return self._believe(self._as_user(endpoint, path, body, until))
            except _Fault as fault:
                faults.append(f"{endpoint.url}: {fault}")
                is_refused |= fault.code in REFUSALS
                endpoint.close()
                self._endpoints.append(self._endpoints.pop(0))
        raise Away((REFUSES if is_refused else "") + "; ".join(faults) or f"no time was left for {path}")

    def _as_user(self, endpoint: _Endpoint, path: str, body: Mapping[str, Any], until: float) -> dict[str, Any]:
        if self._account is None:
            return endpoint.post(path, body, "", until)
        if self._token:
            try:
                return endpoint.post(path, body, self._token, until)
            except _Fault as fault:
                if fault.code != _UNAUTHENTICATED:
                    raise
        self._token = ""
        account = self._account
        answer = endpoint.post("auth/authenticate", {"name": account.user, "password": account.password}, "", until)
        token = answer.get("token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise _Fault("gave no token")
        self._token = token
        return endpoint.post(path, body, token, until)

    def _believe(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer; _Fault: it is of the past, or of something else than etcd."""
        try:
            cluster, term = str(answer["header"]["cluster_id"]), int(answer["header"]["raft_term"])
        except (KeyError, TypeError, ValueError):
            raise _Fault("an answer without a header: this is no etcd, or one before 3.4") from None
        newest = self._terms.get(cluster, 0)
        if term < newest:
            raise _Fault(f"is behind: its Raft term is {term}, and {newest} was seen")
        self._terms = {cluster: term}
        return answer


class _Endpoint:
    """One member: a connection that stays open."""

    def __init__(self, url: str, tls: ssl.SSLContext | None) -> None:
        self.url = url
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 2379
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._connection: HTTPConnection | None = None

    def post(self, path: str, body: Mapping[str, Any], token: str, until: float) -> dict[str, Any]:
        """The answer to one request, by ``until`` (monotonic time). _Fault."""
        try:
            with logs_suppressed("urllib3.connection", "urllib3.util.retry"):
                status, content = self._exchange(path, json.dumps(body).encode(), token, until)
        except (OSError, HTTPException, HTTPError, ValueError, RuntimeError) as fault:  # RuntimeError: no thread
            if monotonic() >= until:
                raise _Fault("no whole answer in time") from None
            raise _Fault(line(_why(fault, self._tls is not None), 200)) from None
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            text = content[:150].decode("utf-8", "replace").strip()
            raise _Fault(line(f"answered {status}, and no JSON: {text}", 200)) from None
        if not isinstance(answer, dict):
            raise _Fault("an answer that is no JSON object")
        if status != 200:
            said = answer.get("message") or answer.get("error")
            code = answer.get("code")
            text = line(f"answered {status}: {said}", 200)
            raise _Fault(text, code if isinstance(code, int) else None)
        return answer

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, path: str, body: bytes, token: str, until: float) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json", **({"Authorization": token} if token else {})}
        if self._connection is not None and self._connection.sock is not None:
            try:
                return self._say(self._connection, path, body, headers, until)
            except ConnectionError:  # it was closed meanwhile: that is no news of the member now
                self.close()
                if monotonic() >= until:
                    raise
        self._connection = self._connect(max(TRY_MIN_S, until - monotonic()))
        return self._say(self._connection, path, body, headers, until)

    @staticmethod
    def _say(
        connection: HTTPConnection, path: str, body: bytes, headers: Mapping[str, str], until: float
    ) -> tuple[int, bytes]:
        with shut_after(connection.sock, max(0.0, until - monotonic())) as shut:
            connection.request("POST", f"/v3/{path}", body, headers, preload_content=False, decode_content=False)
            response = connection.getresponse()
            content = response.read(ANSWER_MAX) or b""
            if response.read(1):
                raise ValueError(f"an answer of more than {ANSWER_MAX} bytes")
        if shut.is_set():
            raise TimeoutError
        return response.status, content

    def _connect(self, seconds: float) -> HTTPConnection:
        if self._tls is None:
            made = HTTPConnection(self._host, self._port, timeout=seconds)
        else:
            made = HTTPSConnection(self._host, self._port, timeout=seconds, ssl_context=self._tls)
        made.connect()
        made.sock.settimeout(None)  # shut_after ends what takes too long
        return made


def _why(fault: BaseException, is_tls: bool) -> str:
    """A fault of a connection, as the system names it and not the library."""
    cause: BaseException | None = fault
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, socket.gaierror):
        return "the name of the host cannot be resolved"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {cause.verify_message}"
    if isinstance(cause, ssl.SSLEOFError):
        return "it ended the TLS handshake: it may want another certificate (cert and key), or one at all"
    if isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER":
        return "speaks no TLS: it may want http://, or is another port"
    if isinstance(cause, RemoteDisconnected) and not is_tls:
        return "hung up without an answer, as one does that wants https://"
    if cause is None or isinstance(cause, ssl.SSLError) or not cause.strerror:
        return f"{type(fault).__name__}: {fault}"
    return cause.strerror[:1].lower() + cause.strerror[1:]


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    """Whatever an answer lacks, or has in another form: away."""
    try:
        yield
    except ODD as fault:
        raise Away(line(f"an answer that is not understood: {type(fault).__name__}: {fault}", 200)) from None


def _text(data: bytes) -> str:
    return b64encode(data).decode()


def _after(prefix: bytes) -> bytes:
    """The end of the range of all keys that begin with ``prefix``: its last byte is one higher (a prefix is text,
    so that is at most 255)."""
    return prefix[:-1] + bytes([prefix[-1] + 1])
