"""``notify``: tell people, through the services of a notification target (apprise, extra ``notify``).

Each URL of the target is sent to for itself, one after the other and in this thread: apprise's own pools would keep
the supervisor from ending while a service hangs. Each service has apprise's own timeouts; a run that takes longer
than ``timeout`` in all is reported as stuck. The URLs are secrets: they appear in no text, and apprise's log lines
about them are withheld.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from importlib.util import find_spec
from inspect import signature
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from banken.protocol.limits import NAME_MAX
from banken_supervisor.actions import options
from banken_supervisor.actions.base import Action, Outcome, Subject, World
from banken_supervisor.actions.log_suppression import hushed
from banken_supervisor.actions.sanitize import line, redact
from banken_supervisor.text import incident_text

URLS_MAX = 32
"""URLs of one target."""

EVIDENCE_LINES = 8

_PART_MIN = 4
"""Characters of a URL's part that counts as a secret of its own; shorter ones would blank out ordinary words."""


class Notify(Action):
    """``to``: a notification target of the config. ``timeout``: seconds for all its services together."""

    name = "notify"
    outside = True

    def __init__(self, *, to: str, timeout: float = 60.0) -> None:
        self.target = self._to = options.words(to, "to", NAME_MAX)
        self.limit_s = options.seconds(timeout, "timeout", 1, 600)

    def run(self, subject: Subject, world: World, ended: threading.Event) -> Outcome:
        """Send one message to each service; all of them must take it."""
        if find_spec("apprise") is None:
            return Outcome(False, "apprise is not installed: in a checkout of banken, pip install '.[notify]'")
        urls = list(world.urls(self._to))[:URLS_MAX]
        secrets = secret_parts(urls)
        self.hidden = secrets
        if subject.others:
            message = incident_text.title(subject), incident_text.folded_body(subject)
        else:
            evidence = () if subject.evidence is None else world.summary(subject.evidence, EVIDENCE_LINES)
            message = incident_text.title(subject), incident_text.body(subject, evidence)
        kind = _kind(subject)
        sent, failed = [], []
        for number, url in enumerate(urls, 1):
            service, fault = _send(url, message, kind)
            told = f"{number} ({service})"
            if fault is None:
                sent.append(told)
            else:
                failed.append(f"{told}: {redact(line(fault), secrets)}")
        data = {"to": self._to, "sent": sent, "failed": failed}
        if not urls:
            return Outcome(False, f"{self._to} has no URLs", data)
        if failed:
            return Outcome(False, f"{self._to}: {len(failed)} of {len(urls)} failed: {'; '.join(failed)}", data)
        return Outcome(True, f"{self._to}: {len(sent)} sent", data)


def _send(url: str, message: tuple[str, str], kind: str) -> tuple[str, str | None]:
    """(the service's name, what went wrong or None)."""
    import apprise

    settings: dict[str, Any] = {"async_mode": False, "secure_logging": True}
    if "service_timeout" in signature(apprise.AppriseAsset).parameters:
        settings["service_timeout"] = 0  # it has one thread pool for all, which a hung service would keep alive
    asset = apprise.AppriseAsset(**settings)
    service = "unknown service"
    with hushed("apprise", "urllib3.connectionpool") as heard:
        try:
            plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
            if plugin is None:
                return service, "no service of apprise's takes this URL"
            service = str(plugin.service_name)
            sender = apprise.Apprise(asset=asset)
            sender.add(plugin)
            done = sender.notify(
                body=message[1],
                title=message[0],
                notify_type=kind,
                body_format=apprise.NotifyFormat.TEXT,
            )
        except Exception as fault:  # noqa: BLE001
            # Any of a hundred plugins: whatever it raises is its failure, and the next service is still told.
            return service, f"{type(fault).__name__}: {fault}"
    return service, None if done else "; ".join(heard) or "not taken"


def _kind(subject: Subject) -> str:
    if subject.recovered:
        return "success"
    return "failure" if incident_text.level(subject).lower() in ("critical", "emergency", "error") else "warning"


def secret_parts(urls: Iterable[str]) -> tuple[str, ...]:
    """The URLs and everything in them that may be a password or a token: all but the scheme and the host."""
    found = set()
    for url in urls:
        found.add(url)
        try:
            parts = urlsplit(url)
        except ValueError:
            continue
        user, _, _ = parts.netloc.rpartition("@")
        pieces = [*user.split(":"), *parts.path.split("/"), *(value for _, value in parse_qsl(parts.query))]
        found.update(each for piece in pieces for each in (piece, unquote(piece)) if len(each) >= _PART_MIN)
    return tuple(found)
