"""The table [upward]: the supervisors of other hosts that watch this one."""

from __future__ import annotations

import re
import socket
from typing import Annotated

from pydantic import Field, model_validator

from banken.address import ADDRESSES_MAX, resolve
from banken.errors import BankenError
from banken.keys import load
from banken.protocol.limits import NAME_MAX, NAME_PATTERN
from banken_supervisor.actions import options
from banken_supervisor.actions.options import PathField, Table, seconds
from banken_supervisor.config.fields import ReachedField
from banken_supervisor.coordination.settings import UPWARD_TIMEOUT, UpwardSettings

PREFIX = "host/"
"""What the names of hosts begin with where they are watched."""

TIMEOUT_MIN, TIMEOUT_MAX = 1.0, 3600.0
"""Seconds."""

LENGTH_MAX = NAME_MAX - len(PREFIX)
"""Characters of a host's name."""

_strange = re.compile(r"[^A-Za-z0-9_.:@/+-]+")


def _host_name(value: object) -> str:
    given = options.name(value)
    if len(given) > LENGTH_MAX:
        raise ValueError(
            f"has {len(given)} characters; at most {LENGTH_MAX} are allowed: {PREFIX} comes before them"
        )
    return given


HostName = Annotated[str, *options.kind(_host_name, {"type": "string", "pattern": f"^{NAME_PATTERN}$"})]


class UpwardTable(Table):
    """This host's supervisor feeds those of other hosts: then its death, or the host's, is an incident there. Read
    at start."""

    addresses: Annotated[list[ReachedField], Field(min_length=1, max_length=ADDRESSES_MAX)] = Field(
        description='Where they listen: ["tcp://HOST:7767", …].'
    )
    key: PathField = Field(description="File of this host's key, which `banken keys new NAME --for …` made there.")
    name: HostName | None = Field(None, description=f"It is {PREFIX}NAME there; default: the host's name.")
    timeout: Annotated[float, *seconds(TIMEOUT_MIN, TIMEOUT_MAX)] = Field(
        UPWARD_TIMEOUT, description="Not heard of for so long, it expires there."
    )

    @model_validator(mode="after")
    def _once(self) -> UpwardTable:
        if len({resolve(each).feed for each in self.addresses}) < len(self.addresses):
            raise ValueError("an address stands there twice")
        return self

    @property
    def settings(self) -> UpwardSettings:
        """As a supervisor takes it."""
        name = own_name() if self.name is None else self.name
        return UpwardSettings(tuple(self.addresses), self.key, PREFIX + name, self.timeout)


def own_name() -> str:
    """What this host is called, of the characters that a watchdog's name may have."""
    found = _strange.sub("-", socket.gethostname()).strip("-.")
    return found[:LENGTH_MAX] or "unnamed"


def key_fault(settings: UpwardSettings) -> str | None:
    """Why its key cannot be used, seen from this process; None: it can."""
    try:
        known = load(settings.key).servers
    except BankenError as fault:
        return str(fault)
    unknown = [each for each in settings.addresses if resolve(each).feed not in known]
    if not unknown:
        return None
    return (
        f"{settings.key}: has no public key of {', '.join(unknown)}; under [servers] it has: "
        f"{', '.join(known) or 'none'}"
    )
