"""``webhook``: POST the incident as a CloudEvent, signed as Standard Webhooks, until it is taken.

Only http and https. Redirects are not followed, and the proxies of the environment are not used: an alarm must not
depend on what the supervisor was started with. Everything has an end: each connect, each read, and all attempts
together.
"""

from __future__ import annotations

import json
import random
import re
import socket
import threading
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import monotonic
from typing import NamedTuple
from urllib.parse import urlsplit

from banken.clock import wall
from banken.errors import Refused
from banken_supervisor.actions import options
from banken_supervisor.actions.base import Action, Outcome, Subject, World
from banken_supervisor.actions.webhook_signing import Key
from banken_supervisor.engine.ladder import Backoff, delay
from banken_supervisor.text import incident_text

URL_MAX = 2048
SECRET_FILE_MAX = 4096
"""Bytes."""

BACKOFF = Backoff(0.5, 10.0)
"""Seconds between two attempts."""

RETRY_AFTER_MAX = 60.0
"""Seconds; a server that asks for a longer pause gets this one."""

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which another attempt may help; of the others from 500 on too."""

_visible = re.compile(r"[!-~]+")


class Target(NamedTuple):
    """Where a webhook goes, taken apart."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def shown(self) -> str:
        """What may be told of it: the path of many a webhook is its password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class Answer(NamedTuple):
    """What came of one attempt."""

    status: int | None
    text: str
    retry_after: float | None = None
    """seconds"""

    @property
    def again(self) -> bool:
        """Whether another attempt may help."""
        return self.status is None or self.status >= 500 or self.status in _AGAIN


class Webhook(Action):
    """``url``; ``secret`` (``whsec_…``) or ``secret_file``, read anew for each run. Without either: not signed.

    ``timeout``: seconds for all attempts together. ``retries``: attempts after the first. ``ca_file``: certificates
    to trust instead of the system's.
    """

    name = "webhook"
    outside = True

    def __init__(
        self,
        *,
        url: str,
        secret: str | None = None,
        secret_file: str | None = None,
        timeout: float = 30.0,
        retries: int = 3,
        ca_file: str | None = None,
    ) -> None:
        self._target = parse_url(url)
        if secret is not None and secret_file is not None:
            raise Refused("a webhook has a secret or a secret_file, not both")
        self._key = None if secret is None else Key(options.words(secret, "secret"))
        self._secret_file = None if secret_file is None else options.words(secret_file, "secret_file")
        self._timeout = options.seconds(timeout, "timeout", 0.1, 600)
        self._retries = options.whole(retries, "retries", 0, 20)
        self.target = url, secret, secret_file
        self._ca_file = None if ca_file is None else _certificates(ca_file)
        self.limit_s = self._timeout + 15
        hidden = [url, secret, self._target.path if len(self._target.path) > 3 else None]
        self.hidden = tuple(each for each in hidden if each)
        self._read_key()

    def run(self, subject: Subject, world: World, ended: threading.Event) -> Outcome:
        """Send it until it is taken; an incident that has ended is not announced any longer."""
        from banken_supervisor.actions.http_post import Post

        deadline = monotonic() + self._timeout
        post = Post(self._target, self._ca_file)
        key, message, body = self._read_key(), message_id(subject), event(subject)
        attempts = 0
        while True:
            attempts += 1
            answer = post.attempt(_headers(message, body, key), body, deadline)
            data = {"attempts": attempts, "status": answer.status, "id": message}
            where = f"{self._target.shown}: {answer.text}"
            if answer.status is not None and 200 <= answer.status < 300:
                return Outcome(True, where, data)
            if not answer.again:
                return Outcome(False, where, data)
            if attempts > self._retries:
                return Outcome(False, f"{where}; given up after {attempts} attempts", data)
            # Jitter, not cryptography: many supervisors must not come back at the same moment.
            pause = delay(BACKOFF, attempts, random.random())  # noqa: S311
            pause = max(pause, min(answer.retry_after or 0.0, RETRY_AFTER_MAX))
            if monotonic() + pause >= deadline:
                return Outcome(False, f"{where}; no time for another attempt within {self._timeout:g} s", data)
            if ended.wait(pause) and not subject.recovered:
                return Outcome(False, f"{where}; not tried again, for the incident has ended", data)

    def _read_key(self) -> Key | None:
        if self._secret_file is None:
            return self._key
        try:
            with Path(self._secret_file).open("rb") as file:
                secret = file.read(SECRET_FILE_MAX).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as fault:
            raise Refused(f"secret_file {self._secret_file!r} cannot be read: {type(fault).__name__}") from None
        self.hidden = tuple({*self.hidden, secret} - {""})
        return Key(secret)


def _certificates(path: object) -> str:
    """``path``, looked at now: at an incident it would be too late to learn that there are none."""
    import ssl  # not needed without https

    given = options.words(path, "ca_file")
    try:
        ssl.create_default_context(cafile=given)
    except OSError as fault:
        why = "it holds no certificate in PEM" if isinstance(fault, ssl.SSLError) else fault.strerror
        raise Refused(f"ca_file {given!r} cannot be used: {why}") from None
    return given


def parse_url(url: object) -> Target:
    """``url`` taken apart. Refused never repeats it."""
    given = options.words(url, "url", URL_MAX)
    if not _visible.fullmatch(given):
        raise Refused(
            "url: only visible ASCII is allowed; write other characters as %XX, and a host's name in punycode"
        )
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        raise Refused("url cannot be taken apart: is its port a number up to 65535?") from None
    if parts.scheme not in ("http", "https"):
        raise Refused("url begins with http:// or https://; nothing else is allowed")
    if not parts.hostname or port == 0:
        raise Refused("url names no host, or port 0")
    if "@" in parts.netloc:
        raise Refused("url holds a user or a password, which is not allowed: sign with a secret instead")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), path)


def message_id(subject: Subject) -> str:
    """The same for every attempt, also after a restart of the supervisor: receivers drop what they have seen."""
    end = "-recovered" if subject.recovered else ""
    more = f"-and-{len(subject.others)}" if subject.others else ""
    # A dot would be ambiguous.
    return f"{subject.incident.id}-{subject.step}-{subject.run}{more}{end}".replace(".", "_")


def event(subject: Subject) -> bytes:
    """The incident, or all of a folded message, as a CloudEvent in JSON, structured mode."""
    many = "incidents" if subject.others else "incident"
    return json.dumps(
        {
            "specversion": "1.0",
            "id": message_id(subject),
            "source": f"banken://{socket.gethostname() or 'localhost'}",
            "type": f"banken.{many}.recovered" if subject.recovered else f"banken.{many}.open",
            "time": incident_text.opened(subject.incident),
            "subject": subject.incident.name,
            "datacontenttype": "application/json",
            "data": incident_text.folded_facts(subject) if subject.others else incident_text.facts(subject),
        },
        allow_nan=False,
    ).encode()


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a server asks to wait; None: it does not, or unreadably. ``now``: wall clock."""
    if value is None or len(value) > 64:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _headers(message: str, body: bytes, key: Key | None) -> dict[str, str]:
    now = int(wall())
    headers = {
        "Content-Type": "application/cloudevents+json; charset=utf-8",
        "User-Agent": "banken",
        "Accept-Encoding": "identity",
        "webhook-id": message,
        "webhook-timestamp": str(now),
    }
    return headers if key is None else headers | {"webhook-signature": key.sign(message, now, body)}
