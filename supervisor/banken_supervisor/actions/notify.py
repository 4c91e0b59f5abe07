"""``notify``: tell people, through the services of a notification target (apprise, extra ``notify``).

It sends to each URL of the target by itself, one after the other and in this thread: apprise's own pools would keep
the supervisor from ending while a service hangs. Each service has apprise's own timeouts; a run that takes longer
than ``timeout`` in all is reported as stuck. The URLs are secrets: apprise's log lines about them are not written,
and what a service says is shown without them. The target's name is none.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterable
from importlib.util import find_spec
from inspect import signature
from typing import Annotated, Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import Field

from banken_supervisor.actions import incident_text
from banken_supervisor.actions.base import Action, ActionContext, ActionTarget, Outcome
from banken_supervisor.actions.log_suppression import logs_suppressed
from banken_supervisor.actions.options import Name, Table, seconds
from banken_supervisor.text.sanitize import line, redact

URLS_MAX = 32
"""URLs of one target."""

EVIDENCE_LINES = 8

_PART_MIN = 4
"""Characters of a secret; shorter ones would blank out ordinary words."""

_TOKEN_MIN, _TOKEN_SURE = 8, 20
"""Characters from which on a part with letters and digits, and any part, may be a token."""

_between = re.compile(r"://|[/?&=:@,;#]")


class Notify(Action, Table):
    """Tell people."""

    name: ClassVar[str] = "notify"
    outside: ClassVar[bool] = True
    brings_back: ClassVar[bool] = False

    to: Name = Field(description="A name of [notify.NAME].")
    timeout: Annotated[float, *seconds(1, 600)] = Field(
        60.0, description="For all its services together; then it is reported as stuck."
    )

    def model_post_init(self, context: Any, /) -> None:
        self.__dict__.update(recipient=self.to, limit_s=self.timeout)

    def run(self, target: ActionTarget, context: ActionContext, ended: threading.Event) -> Outcome:
        """Send one message to each service. It succeeds when all have taken it."""
        if find_spec("apprise") is None:
            return Outcome(False, "apprise is not installed: in a checkout of banken, pip install '.[notify]'")
        urls = list(context.urls(self.to))[:URLS_MAX]
        secrets = secret_parts(urls)
        title = incident_text.title(target)
        grave = incident_text.level(target).lower() in ("critical", "emergency", "error")
        kind = "success" if target.recovered else "failure" if grave else "warning"
        if target.others:
            body = incident_text.folded_body(target)
        else:
            evidence = () if target.evidence is None else context.summary(target.evidence, EVIDENCE_LINES)
            body = incident_text.body(target, evidence)
        sent, failed = [], []
        for number, url in enumerate(urls, 1):
            service, fault = _send(url, title, body, kind)
            if fault is None:
                sent.append(f"{number} ({service})")
            else:
                failed.append(f"{number} ({service}): {line(redact(fault, secrets))}")
        data = {"to": self.to, "sent": sent, "failed": failed}
        if not urls:
            return Outcome(False, f"{self.to} has no URLs", data)
        if failed:
            return Outcome(False, f"{self.to}: {len(failed)} of {len(urls)} failed: {'; '.join(failed)}", data)
        return Outcome(True, f"{self.to}: {len(sent)} sent", data)


def _send(url: str, title: str, body: str, kind: str) -> tuple[str, str | None]:
    """(the service's name, what went wrong or None)."""
    import apprise

    settings: dict[str, Any] = {"async_mode": False, "secure_logging": True}
    if "service_timeout" in signature(apprise.AppriseAsset).parameters:
        settings["service_timeout"] = 0  # it has one thread pool for all, which a hung service would keep alive
    asset = apprise.AppriseAsset(**settings)
    service = "unknown service"
    with logs_suppressed("apprise", "urllib3.connectionpool") as warnings:
        try:
            plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
            if plugin is None:
                return service, "apprise has no service for this URL"
            service = str(plugin.service_name)
            sender = apprise.Apprise(asset=asset)
            sender.add(plugin)
            text = apprise.NotifyFormat.TEXT
            done = sender.notify(body=body, title=title, notify_type=kind, body_format=text)
        except Exception as fault:  # noqa: BLE001
            # A hundred plugins may raise anything: that service has failed, and the next one is tried.
            return service, f"{type(fault).__name__}: {fault}"
    return service, None if done else "; ".join(warnings) or "not taken"


def secret_parts(urls: Iterable[str]) -> tuple[str, ...]:
    """The URLs, and what in them is a password, a token or a key: what apprise keeps private, and each part of the
    path or value of the query that looks like one. Users, hosts and words are none."""
    found = set()
    for url in urls:
        found.add(url)
        try:
            parts = urlsplit(url)
            password = parts.password
        except ValueError:
            continue
        values = [*parts.path.split("/"), *(value for _, value in parse_qsl(parts.query))]
        secrets = [password or "", *(each for each in values if _looks_secret(each)), *_private(url)]
        found.update(each for secret in secrets for each in (secret, unquote(secret)) if len(each) >= _PART_MIN)
    return tuple(found)


def _private(url: str) -> set[str]:
    """The parts that apprise shows to nobody; of a URL that it does not know, all."""
    import apprise

    shown, masked = url.partition("://")[2], ""
    with contextlib.suppress(Exception), logs_suppressed("apprise"):  # a hundred plugins may raise anything
        made: Any = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        if made:
            shown, masked = (made.url(privacy=private) for private in (False, True))
    return set(_between.split(unquote(shown))) - set(_between.split(unquote(masked)))


def _looks_secret(part: str) -> bool:
    mixed = any(c.isdigit() for c in part) and any(c.isalpha() for c in part)
    return "@" not in part and len(part) >= _TOKEN_MIN and (mixed or len(part) >= _TOKEN_SURE)
