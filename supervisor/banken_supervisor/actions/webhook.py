"""``webhook``: POST the incident as a CloudEvent, signed as Standard Webhooks, until it is taken.

https://www.standardwebhooks.com: ``webhook-id`` stays the same over all attempts, ``webhook-timestamp`` is the time
of the attempt, and ``webhook-signature`` is HMAC-SHA256 over ``id.timestamp.body``. Only http and https. Redirects
are not followed, and the proxies of the environment are not used: an alarm must not depend on how the supervisor
was started. Each connect, each read, and all attempts together have a limit.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import random
import socket
from time import monotonic
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from banken.clock import wall
from banken_supervisor.actions import incident_text, options
from banken_supervisor.actions.base import Action, ActionContext, ActionTarget, IncidentEnd, Outcome
from banken_supervisor.actions.target import CUT
from banken_supervisor.engine.ladder import Backoff, delay
from banken_supervisor.processes.incident_end import StopReason
from banken_supervisor.text.secret import Secret

KEY_PREFIX = "whsec_"
KEY_MIN, KEY_MAX = 24, 64
"""Bytes of a key, as the specification has it."""

LAST_S = 0.3
"""Seconds for the last attempt while the supervisor stops."""

BACKOFF = Backoff(0.5, 10.0)
"""Seconds between two attempts."""

RETRY_AFTER_MAX = 60.0
"""Seconds; a server that asks for a longer pause gets this one."""


def key_of(secret: Secret) -> bytes:
    """The signing key in a secret of Standard Webhooks. ValueError does not repeat it."""
    given = secret.reveal()
    try:
        key = base64.b64decode(given.removeprefix(KEY_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not given.startswith(KEY_PREFIX) or not KEY_MIN <= len(key) <= KEY_MAX:
        raise ValueError(f"is no secret: {KEY_PREFIX} and the base64 of {KEY_MIN} to {KEY_MAX} bytes is allowed")
    return key


def sign(key: bytes, message: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``."""
    signed = f"{message}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _url(given: Secret) -> Secret:
    options.parse_url(given.reveal())
    return given


def _secret(given: Secret) -> Secret:
    key_of(given)
    return given


def _secret_file(path: str, info: ValidationInfo) -> str:
    if options.source(info).read_files:
        key_of(options.secret_from(path))
    return path


def _ca_file(path: str, info: ValidationInfo) -> str:
    """Read early: at an incident it would be too late to learn that it holds no certificate."""
    import ssl  # not needed without https

    if not options.source(info).read_files:
        return path
    try:
        ssl.create_default_context(cafile=path)
    except OSError as fault:
        why = "it holds no certificate in PEM" if isinstance(fault, ssl.SSLError) else fault.strerror
        raise ValueError(f"cannot be used: {why}") from None
    return path


class Webhook(Action, options.Table):
    """POST the incident as CloudEvents JSON, signed as Standard Webhooks."""

    name: ClassVar[str] = "webhook"
    outside: ClassVar[bool] = True
    brings_back: ClassVar[bool] = False

    url: Annotated[options.SecretField, AfterValidator(_url)] = Field(
        description="https://… or http://…; may hold ${ENV}."
    )
    secret: Annotated[options.SecretField, AfterValidator(_secret)] | None = Field(
        None, description="Signs it; better ${ENV} than the secret itself."
    )
    secret_file: Annotated[options.PathField, AfterValidator(_secret_file)] | None = Field(
        None, description="Holds the secret; read again for each run."
    )
    timeout: Annotated[float, *options.seconds(0.1, 600)] = Field(30.0, description="For all tries together.")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(3, description="Tries after the first.")
    ca_file: Annotated[options.PathField, AfterValidator(_ca_file)] | None = Field(
        None, description="Certificates to trust instead of the system's."
    )

    @model_validator(mode="after")
    def _one_secret(self) -> Webhook:
        if self.secret is not None and self.secret_file is not None:
            raise ValueError("secret and secret_file: only one of them is allowed")
        return self

    def model_post_init(self, context: Any, /) -> None:
        url, secret = self.url.reveal(), self.secret.reveal() if self.secret else ""
        path = options.parse_url(url).path
        self.__dict__.update(
            recipient=(self.url, self.secret, self.secret_file),
            limit_s=self.timeout + 15,
            hidden=tuple(each for each in (url, secret, path if len(path) > 3 else "") if each),
        )

    def run(self, target: ActionTarget, context: ActionContext, ended: IncidentEnd) -> Outcome:
        """Send it until it is taken; an incident that has ended is not announced any longer. Where the supervisor
        stops in the pause after an attempt, there is a last one at once.

        Not signed where there is neither a secret nor a file with one.
        """
        from banken_supervisor.actions.http_post import post

        deadline, address = monotonic() + self.timeout, options.parse_url(self.url.reveal())
        key, message, body = self._key(), message_id(target), event(target)
        attempts = 0
        while True:
            attempts += 1
            is_last = ended.reason is StopReason.STOPPING
            until = min(deadline, monotonic() + LAST_S) if is_last else deadline
            answer = post(address, self.ca_file, _headers(target, body, key), body, until)
            data = {"attempts": attempts, "status": answer.status, "id": message}
            where = f"{address.shown}: {answer.text}"
            if answer.status is not None and 200 <= answer.status < 300:
                return Outcome(True, where, data)
            if not answer.again:
                return Outcome(False, where, data)
            if is_last:
                cut = {CUT: True} if target.is_next_leaders else {}
                return Outcome(False, f"{where}; not tried again, for {ended.text}", data | cut)
            if attempts > self.retries:
                return Outcome(False, f"{where}; given up after {attempts} attempts", data)
            # Jitter, not cryptography: many supervisors must not come back at the same moment.
            pause = delay(BACKOFF, attempts, random.random())  # noqa: S311
            pause = max(pause, min(answer.retry_after or 0.0, RETRY_AFTER_MAX))
            if monotonic() + pause >= deadline:
                return Outcome(False, f"{where}; no time for another attempt within {self.timeout:g} s", data)
            if ended.wait(pause) and ended.reason is not StopReason.STOPPING:
                cut = {CUT: True} if ended.reason is StopReason.HANDED_OVER else {}
                return Outcome(False, f"{where}; not tried again, for {ended.text}", data | cut)

    def _key(self) -> bytes | None:
        secret = self.secret
        if self.secret_file is not None:
            secret = options.secret_from(self.secret_file)
            self.__dict__["hidden"] = tuple({*self.hidden, secret.reveal()})
        return None if secret is None else key_of(secret)


def message_id(target: ActionTarget) -> str:
    """The same for every attempt, also after a restart of the supervisor: receivers drop what they have seen. Of an
    end without the run: which one was the last, two leaders of a cluster may see differently."""
    run, end = ("", "-recovered") if target.recovered else (f"-{target.run}", "")
    more = f"-and-{len(target.others)}" if target.others else ""
    # A dot would be ambiguous.
    return f"{target.incident.id}-{target.step}{run}{more}{end}".replace(".", "_")


def event(target: ActionTarget) -> bytes:
    """The incident, or all of a folded message, as a CloudEvent in JSON, structured mode."""
    many = "incidents" if target.others else "incident"
    return json.dumps(
        {
            "specversion": "1.0",
            "id": message_id(target),
            "source": f"banken://{socket.gethostname() or 'localhost'}",
            "type": f"banken.{many}.recovered" if target.recovered else f"banken.{many}.open",
            "time": incident_text.at(target.incident.opened),
            "subject": target.incident.name,
            "datacontenttype": "application/json",
            "data": incident_text.folded_facts(target) if target.others else incident_text.facts(target),
        },
        allow_nan=False,
    ).encode()


def _headers(target: ActionTarget, body: bytes, key: bytes | None) -> dict[str, str]:
    now, message = int(wall()), message_id(target)
    headers = {
        "Content-Type": "application/cloudevents+json; charset=utf-8",
        "User-Agent": "banken",
        "Accept-Encoding": "identity",
        "webhook-id": message,
        "webhook-timestamp": str(now),
        **({} if target.fence is None else {"banken-fence": str(target.fence)}),
    }
    return headers if key is None else headers | {"webhook-signature": sign(key, message, now, body)}
