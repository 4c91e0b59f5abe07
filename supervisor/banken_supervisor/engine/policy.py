"""The operator's settings as data: for watchdogs, groups and programs.

The config file is parsed into these (config/), the command line creates them too (``banken guard``), and the engine
uses them. All durations in seconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from banken.protocol.limits import SECONDS_MAX
from banken.protocol.messages import DEFAULT_INTERVAL, Declaration, Feeders
from banken_supervisor.engine.ladder import RESTARTS, Backoff, Budget, Ladder

NEVER = SECONDS_MAX
"""Timeout, and grace, of what is not judged for its silence: ten years."""

UNDECLARED = Declaration(NEVER, DEFAULT_INTERVAL, NEVER)
"""For what nobody gave a timeout, until it is fed."""


class By(StrEnum):
    """Whose word the timeout of a watchdog is."""

    OPERATOR = "operator"
    WORKER = "worker"
    DEFAULT = "default"
    """it was fed, and neither gave a timeout"""
    NOBODY = "nobody"
    """its next feed decides; as long as it was never fed, there is no timeout"""


HOST_OFF_COUNTS_S = 3600.0
"""Seconds; see ``Policy.count_host_off``."""


class Auto(NamedTuple):
    """An adaptive timeout, computed from the observed gaps between feeds."""

    least: float
    most: float
    warm_up: int = 20
    """gaps that must be observed before the computed timeout is used"""


class Window(NamedTuple):
    """Recurring maintenance: the watchdog is not judged for ``seconds`` from each time that ``cron`` matches."""

    cron: str
    seconds: float
    timezone: str | None = None
    """in which ``cron`` is meant; None: the system's own"""


class CheckRule(NamedTuple):
    """A watchdog is that of a check (checks.py)."""

    of: str
    """its owner: the watchdog, or the program, that the check is about"""
    label: str
    """what is looked at, for people"""
    every: float
    """seconds from one run to the next"""
    fails: int
    """failures in a row that are a verdict"""
    is_readiness: bool = False
    """it says whether a program is ready, and is no verdict of its own"""


class Policy(NamedTuple):
    """The settings of one watchdog, or of all whose names match a pattern."""

    declaration: Declaration
    ladder: Ladder = Ladder(())
    min_interval: float | None = None
    """more frequent feeds cause a verdict (a windowed watchdog); see rate_limit.py"""
    auto: Auto | None = None
    depends_on: tuple[str, ...] = ()
    """names; while one of them has an open incident, an incident here is marked and is not escalated"""
    maintenance: tuple[Window, ...] = ()
    worker_declares: bool = False
    """the operator gave no timeout: the worker's declaration counts, or the default from the first feed"""
    count_host_off: bool | None = None
    """whether the time that the host was off counts as silence; None: if the timeout is ``HOST_OFF_COUNTS_S`` or
    longer"""
    written: tuple[str, ...] = ()
    """fields of the declaration that the operator gave all the same: they count before the worker's"""
    expect: bool = False
    """an exact name is judged from the supervisor's start, fed or not; else its first feed, or a worker's
    declaration, is waited for"""
    is_local: bool | None = None
    """whether it concerns this host alone, whoever leads the cluster; None: if processes of this host feed it"""
    check: CheckRule | None = None
    """not None: it is the watchdog of a check; ``depends_on`` begins with the check's owner then"""


EXIT_ONLY = Policy(UNDECLARED._replace(feeders=Feeders.EACH), worker_declares=True)
"""For a program of which only the exit is watched, unless it declares a timeout itself, or feeds."""


class Strategy(StrEnum):
    """Which programs of a group restart when one of them ends, as in Erlang/OTP."""

    ONE_FOR_ONE = "one-for-one"
    ONE_FOR_ALL = "one-for-all"
    REST_FOR_ONE = "rest-for-one"
    """that program, and those that start after it"""


class Group(NamedTuple):
    """Watchdogs, or programs, that belong together."""

    name: str
    members: tuple[str, ...]
    """names or shell patterns of watchdogs; a program's watchdog has the program's name"""
    at_least: int | None = None
    """an incident of the group opens when fewer of its members than this are alive"""
    strategy: Strategy | None = None
    """for groups of programs"""
    budget: Budget | None = None
    """restarts of the whole group, in addition to each program's own budget"""
    ladder: Ladder = Ladder(())
    """how an incident of the group is escalated"""


class Quotas(NamedTuple):
    """How much one process may ask of the supervisor, and all of them together."""

    names: int = 1_000_000
    """watchdogs, of all processes"""
    names_per_process: int = 10_000
    events_per_second: float = 1_000.0
    """events that the messages of one process may cause for long; beyond that they wait"""
    events_burst: int = 100_000
    """at once"""
    processes_per_name: int = 1_000
    """processes that feed one name and are each judged by itself"""
    connections: int | None = None
    """connections in all; None: as the limit of open descriptors allows"""


class Restart(StrEnum):
    """When a program that ended by itself is started again."""

    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    """unless it ended with exit status 0, or with one that ``clean`` of its watchdog has"""
    NEVER = "never"


class ProcessAttributes(NamedTuple):
    """What a command's process has besides its environment; it inherits none of it. The defaults are those of a
    login: what this process may not set to them for want of a privilege stays as it is."""

    umask: int = 0o022
    nice: int | None = None
    """None: 0"""
    oom_score_adj: int | None = None
    """how soon the kernel kills it when memory is short; None: 0"""
    rlimits: tuple[tuple[str, int, int], ...] = ()
    """(name as in setrlimit(2), in lower case and without RLIMIT_; soft; hard), ``RLIM_INFINITY``: -1. Others are
    those that this process was started with"""


class Readiness(NamedTuple):
    """How it is known that a program is ready: one of these."""

    notify: bool = False
    """it says READY=1 (sd_notify)"""
    fd: int | None = None
    """it writes a line to this descriptor"""
    ended: bool = False
    """it has ended, with a clean exit status"""
    check: bool = False
    """a check of it passes: NAME/ready"""


class ProgramSpec(NamedTuple):
    """A child process that the supervisor starts, one per name (``numprocs`` is already expanded)."""

    name: str
    """of the program and of its watchdog"""
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    """added to the supervisor's own environment, ``BANKEN_ADDRESS``, ``BANKEN_NAME`` and ``BANKEN_TIMEOUT``"""
    directory: str | None = None
    user: str | None = None
    order: int = 0
    """programs of a lower order start earlier and stop later"""
    autostart: bool = True
    stop_signal: str = "SIGTERM"
    stop_timeout: float = 10.0
    """seconds from the stop signal to SIGKILL"""
    restart: Restart = Restart.ON_FAILURE
    budget: Budget = RESTARTS
    backoff: Backoff = Backoff(1.0, 60.0)
    log: str | None = None
    """file for stdout and stderr; None: one of its name in the state directory"""
    log_bytes_max: int = 10 * 1024 * 1024
    log_files_max: int = 5
    dies_with_supervisor: bool = False
    """True: its process group is killed when the supervisor dies; False: the next supervisor adopts it"""
    terminal: bool = False
    """True: it uses the supervisor's stdin, stdout and stderr; ``log`` must be None"""
    attributes: ProcessAttributes | None = ProcessAttributes()
    """None: as the supervisor's own process has them"""
    env_clear: bool = False
    """True: a login's environment in place of the supervisor's own"""
    env_file: str | None = None
    """a file with more variables, read at each start; of a name in both, ``environment`` has the value"""
    ready: Readiness | None = None
    """None: it is ready when its process exists"""
    after: tuple[str, ...] = ()
    """programs that are to be ready before it starts, whatever their ``order``"""
    notify_access: str = "main"
    """who may say by sd_notify all that can be said: main, its main process; all, whoever has its socket"""
    withheld: tuple[str, ...] = ()
    """variables of the supervisor's own environment that it does not get: secrets of the supervisor's"""
