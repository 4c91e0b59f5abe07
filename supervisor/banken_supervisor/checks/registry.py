"""The kinds of checks, by the key that makes a table one of them."""

from __future__ import annotations

from banken_supervisor.checks.base import CheckFields
from banken_supervisor.checks.dns import Dns
from banken_supervisor.checks.exec import Exec
from banken_supervisor.checks.file import File
from banken_supervisor.checks.host import Host
from banken_supervisor.checks.http import Http
from banken_supervisor.checks.output import Output
from banken_supervisor.checks.ping import Ping
from banken_supervisor.checks.process import Pidfile, Process
from banken_supervisor.checks.systemd import Systemd
from banken_supervisor.checks.tcp import Tcp, Unix
from banken_supervisor.checks.uses import Uses

_ALL = Http, Tcp, Unix, Exec, Output, File, Process, Pidfile, Uses, Host, Ping, Dns, Systemd

KINDS: dict[str, type[CheckFields]] = {each.kind: each for each in _ALL}
