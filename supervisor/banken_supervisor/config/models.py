"""The tables of banken.toml, one model each: keys, types, ranges. What needs two tables is in semantics.py."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, TypeAdapter, model_validator

from banken.address import ADDRESSES_MAX
from banken.protocol.messages import Declaration
from banken_supervisor.actions.options import STRICT, Name, PathField, SignalName, Table, seconds
from banken_supervisor.config.checks import Checks, with_owner_said
from banken_supervisor.config.cluster import ClusterTable
from banken_supervisor.config.deadman import DeadmanSettings, DeadmanTable
from banken_supervisor.config.fields import (
    AddressField,
    BackoffField,
    BudgetField,
    CleanEnds,
    Command,
    Duration,
    Environment,
    ListenField,
    NotifyUrl,
    PageField,
    Pattern,
    ProgramName,
    ProgramPattern,
    Rlimits,
    Size,
    Target,
    Text,
    Timeout,
    Umask,
    UrlsFile,
    User,
)
from banken_supervisor.config.numbering import filled_whole
from banken_supervisor.config.readiness import NOTIFY_ACCESS, NotifyAccess, Ready
from banken_supervisor.config.steps import STEPS, OwnStep, StepFields
from banken_supervisor.config.tags import MANY, ONE, TAG, one_or_many
from banken_supervisor.config.upward import UpwardTable
from banken_supervisor.engine.digest import Limits
from banken_supervisor.engine.ladder import STEPS_MAX
from banken_supervisor.engine.policy import Quotas

PROCESSES_MAX = 1000
"""Processes of one [[program]]."""

NAMES_MAX = 10_000
"""Names in one list."""

OWN = f"{TAG}own"

CHECK = "What is looked at besides: a table, or a list of them; each is a watchdog of its own, NAME/check."


def _kind_of_step(value: Any) -> str | None:
    do = value.get("do") if isinstance(value, dict) else None
    if isinstance(do, str):
        return TAG + do if do in STEPS else OWN
    return OWN if isinstance(value, dict) else None


def milliseconds(seconds: float) -> float:
    """Durations of declarations are whole milliseconds, as on the wire."""
    return round(seconds, 3)


if TYPE_CHECKING:
    AnyStep = StepFields | None  # None: one that had a fault (parsing), reported already
    GiveUp = AnyStep | list[AnyStep]
else:
    _STEPS = tuple(Annotated[model, Tag(TAG + action)] for action, model in STEPS.items())
    AnyStep = Annotated[Union[(*_STEPS, Annotated[OwnStep, Tag(OWN)])], Discriminator(_kind_of_step)]
    GiveUp = Annotated[
        Annotated[AnyStep, Tag(ONE)] | Annotated[list[AnyStep], Field(max_length=STEPS_MAX), Tag(MANY)],
        Discriminator(one_or_many),
    ]


class DefaultsTable(Table):
    """For what is left out, here and by undeclared names."""

    timeout: Duration = Field(60.0, description="Unfed for so long, a watchdog expires.")
    interval: Duration = Field(20.0, description="While it stays unfed, its callback runs again this often.")
    grace: Duration | None = Field(None, description="Allowed before the first feed; default: timeout.")


class RetentionTable(Table):
    """How much the journal keeps."""

    age: Duration = Field(
        30 * 86400.0, description="What is older goes, counted in time that was seen, not by a clock that was set."
    )
    size: Size = Field(256 * 1024 * 1024, description="Beyond this, the oldest go first.")


class FoldTable(Table):
    """When notices of notify and webhook become one message."""

    window: Annotated[float, *seconds(0, 600)] = Field(
        Limits().window, description="More to one target within this become one message; 0s: never."
    )
    most: Annotated[int, Field(ge=1, le=1000)] = Field(
        Limits().most, description="Messages that one target gets within it before they are folded."
    )


class LimitsTable(Table):
    """How much one process may ask of the supervisor; honest ones do not come near."""

    names: Annotated[int, Field(ge=1, le=2_000_000)] = Field(
        Quotas().names, description="Watchdogs in all; further names are refused."
    )
    names_per_process: Annotated[int, Field(ge=1, le=2_000_000)] = Field(
        Quotas().names_per_process, description="Watchdogs that one process may have; further names are refused."
    )
    events_per_second: Annotated[float, Field(ge=1, le=1_000_000)] = Field(
        Quotas().events_per_second,
        description="Events that one process may cause for long; beyond that its messages wait, and nobody else's.",
    )
    events_burst: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        Quotas().events_burst, description="Events that it may cause at once."
    )
    processes_per_name: Annotated[int, Field(ge=1, le=10_000)] = Field(
        Quotas().processes_per_name,
        description="Processes that may feed one name with feeders = each; a further one is refused.",
    )
    connections: Annotated[int, Field(ge=8, le=100_000)] | None = Field(
        Quotas().connections,
        description="Connections in all, at most; never more than five eighths of the limit of open files.",
    )


class SupervisorTable(Table):
    """The supervisor itself."""

    address: AddressField | None = Field(
        None, description="Directory of the sockets, unless --address or $BANKEN_ADDRESS names one."
    )
    listen: Annotated[list[ListenField], Field(max_length=ADDRESSES_MAX)] = Field(
        [], description='Where workers of other hosts come in, with keys: ["tcp://0.0.0.0:7767"]. Read at start.'
    )
    keys: PathField | None = Field(
        None,
        description="Directory of the keys; default: see banken keys --help. Read at start; its rights at reload.",
    )
    callback_limit: Duration = Field(30.0, description="A callback that takes longer is stuck, and is ended.")
    callback_threads: Annotated[int, Field(ge=1, le=1024)] = Field(64, description="Callbacks that run at once.")
    callback_process: bool = Field(
        True,
        description="Run [callbacks] and actions of your own in a process of their own; false: in the "
        "supervisor's, on threads.",
    )
    checks_at_once: Annotated[int, Field(ge=1, le=1000)] = Field(100, description="Checks that run at once.")
    stop_timeout: Annotated[Duration, Field(le=3600)] = Field(
        5.0, description="SIGTERM ends it within this, even while callbacks hang."
    )
    undeclared: Literal["defaults", "refuse"] = Field(
        "defaults", description="What becomes of a name that neither the file nor the worker declares."
    )
    defaults: DefaultsTable = Field(default_factory=lambda: DefaultsTable.model_validate({}))
    journal: PathField | None = Field(None, description="File of the journal; default: see banken run --help.")
    retention: RetentionTable = Field(default_factory=lambda: RetentionTable.model_validate({}))
    url: PageField | None = Field(None, description="Public address of the web page, for links in notices.")
    fold: FoldTable = Field(default_factory=lambda: FoldTable.model_validate({}))
    limits: LimitsTable = Field(default_factory=lambda: LimitsTable.model_validate({}))
    hardware_watchdog: PathField | None = Field(
        None,
        description="The kernel's device, /dev/watchdog: the machine is reset when the supervisor stands still.",
    )
    deadman: DeadmanTable | None = Field(None, description="An address that is fetched while the supervisor works.")

    @property
    def declaration(self) -> Declaration:
        """For what is left out: by an undeclared name, and by the file's own tables."""
        table = self.defaults
        grace = table.timeout if table.grace is None else table.grace
        return Declaration(milliseconds(table.timeout), milliseconds(table.interval), milliseconds(grace))

    @property
    def deadman_settings(self) -> DeadmanSettings | None:
        """``deadman``, as the supervisor takes it."""
        return None if self.deadman is None else DeadmanSettings(self.deadman.url, self.deadman.every)

    @property
    def quotas(self) -> Quotas:
        """``limits``, as the engine takes them."""
        return Quotas(**self.limits.model_dump())

    @property
    def for_undeclared(self) -> Declaration | None:
        """As ``Supervisor(defaults=…)`` takes it; None: a name that neither file nor worker declares is refused."""
        return None if self.undeclared == "refuse" else self.declaration


class AutoTable(Table):
    """Bounds of a timeout that is learnt from the gaps between feeds."""

    least: Duration = Field(description="Never shorter than this.")
    most: Duration = Field(description="Never longer than this; holds until enough was seen.")
    warm_up: Annotated[int, Field(ge=2, le=1_000_000)] = Field(20, description="Gaps to be seen first.")

    @model_validator(mode="after")
    def _ordered(self) -> AutoTable:
        if self.least > self.most:
            raise ValueError("least must not exceed most")
        return self


class WindowTable(Table):
    """Recurring maintenance: the watchdog is not judged meanwhile."""

    cron: Text = Field(description="When it begins: five fields as for cron.")
    seconds: Duration = Field(alias="for", description="How long it lasts.")
    timezone: Text | None = Field(None, description="In which cron is meant (Europe/Berlin); default: local time.")


class WatchFields(BaseModel):
    """The keys of a watchdog, in [[watchdog]] and in its program's table."""

    model_config = STRICT

    timeout: Timeout | None = Field(
        None, description='Unfed for so long, it expires; "auto": learnt, see auto; default: none until it is fed.'
    )
    interval: Duration | None = Field(None, description="While it stays unfed, its callback runs again this often.")
    grace: Duration | None = Field(None, description="Allowed before the first feed; default: timeout.")
    feeders: Literal["latest", "any", "each"] = Field(
        "latest", description="Who may feed it: the newest process, any, or each, which is judged by itself."
    )
    progress_timeout: Duration | None = Field(None, description="Fed, but its progress stands still for so long.")
    exit: Literal["unclean", "incident", "never"] = Field(
        "unclean", description="Which ends of its process are an incident: those that are not clean, all, or none."
    )
    clean: CleanEnds | None = Field(
        None, description="Exit statuses and signals that are no failure; default: 0, HUP, INT, TERM and PIPE."
    )
    min_interval: Duration | None = Field(None, description="Fed more often than this, it expires too.")
    callback: Name | None = Field(None, description="A name of [callbacks]; runs at the verdict and each interval.")
    auto: AutoTable | None = Field(None, description='Bounds for timeout = "auto".')
    ladder: list[AnyStep] = Field([], max_length=STEPS_MAX, description="What is done after a verdict, in order.")
    on_give_up: GiveUp | None = Field(None, description="What is done once, when it is given up.")
    observe: bool = Field(False, description="Record what the ladder would do, and do nothing.")
    depends_on: list[Name] = Field(
        [], max_length=NAMES_MAX, description="While one of these has an incident, the ladder here waits."
    )
    maintenance: list[WindowTable] = Field([], max_length=100, description="When it is not judged.")
    count_host_off: bool | None = Field(
        None,
        description="Whether the time that the host was off counts; default: for an hour and more.",
    )

    @property
    def last_steps(self) -> list[AnyStep]:
        """``on_give_up`` as a list."""
        given = self.on_give_up
        return given if isinstance(given, list) else [] if given is None else [given]


class WatchdogTable(WatchFields):
    """A watchdog, or all whose names match a pattern."""

    name: Pattern = Field(description="A name, or a pattern such as worker-*; the first that matches counts.")
    check: Checks | None = Field(None, description=CHECK)
    expect: bool = Field(False, description="Judge it from the supervisor's start, not from its first feed.")
    notify: bool = Field(
        False, description="Give it a socket for sd_notify, DIRECTORY/notify/NAME, which it gets as NOTIFY_SOCKET."
    )
    notify_access: NotifyAccess = NOTIFY_ACCESS
    scope: Literal["local", "cluster"] | None = Field(
        None,
        description="Whether it is this host's alone or the whole [cluster]'s; default: this host's if processes "
        "of it feed the watchdog.",
    )


class GroupTable(Table):
    """Watchdogs, or programs, that belong together."""

    name: Name = Field(description="Its own; its incidents bear it.")
    members: list[Pattern] = Field(min_length=1, max_length=NAMES_MAX, description="Names or patterns.")
    at_least: Annotated[int, Field(ge=1, le=2_000_000)] | None = Field(
        None, description="An incident opens when fewer members than this are alive."
    )
    strategy: Literal["one-for-one", "one-for-all", "rest-for-one"] | None = Field(
        None, description="Which programs start again when one ends."
    )
    budget: BudgetField | None = Field(None, description="Restarts of the whole group.")
    ladder: list[AnyStep] = Field([], max_length=STEPS_MAX, description="What is done when too few are alive.")


class ProgramTable(WatchFields):
    """A child process that the supervisor starts; with any key of a watchdog, it is watched too."""

    # The names are those of ProgramSpec, the aliases the file's.

    feeders: Literal["latest", "any", "each"] = Field(
        "each", description="Which of its processes may feed it: each is judged by itself; or the newest; or any."
    )
    name: ProgramName = Field(description="Its own and its watchdog's; {i} is the number of the process.")
    check: Annotated[
        Checks | None, BeforeValidator(partial(filled_whole, number=0)), BeforeValidator(with_owner_said)
    ] = Field(None, description=CHECK)
    command: Command = Field(description="No shell runs it. {i} is the number of the process, {{i}} the text {i}.")
    environment: Environment = Field(
        {},
        alias="env",
        repr=False,
        description="Added to what it inherits of the supervisor's environment; ${NAME} is taken from there.",
    )
    env_file: PathField | None = Field(
        None,
        description="A file with more, NAME=VALUE a line, read at each start; what env has too is taken from env.",
    )
    env_clear: bool | None = Field(
        None,
        description="Inherit nothing: PATH, HOME, USER, LOGNAME, SHELL, LANG and TZ as a login has them; default: "
        "true with user, else false.",
    )
    directory: PathField | None = Field(None, alias="cwd", description="Where it runs.")
    user: User | None = Field(None, description="As whom it runs: a name, or a number that has one.")
    umask: Umask | None = Field(
        None, description='Which permissions its new files do not get, in octal digits; default: "022".'
    )
    nice: Annotated[int, Field(ge=-20, le=19)] | None = Field(
        None, description="Its nice value, -20 (first) to 19 (last); default: 0."
    )
    oom_score_adj: Annotated[int, Field(ge=-1000, le=1000)] | None = Field(
        None, description="-1000 (never) to 1000 (first): who is killed when memory is short; default: 0."
    )
    rlimits: Rlimits = Field(
        (), description='Limits, such as { nofile = 4096, core = 0, as = "1GiB:2GiB" }; default: the supervisor\'s.'
    )
    numprocs: Annotated[int, Field(ge=1, le=PROCESSES_MAX)] = Field(1, description="How many of it.")
    order: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = Field(
        0, description="A lower one starts earlier and stops later."
    )
    autostart: bool = Field(True, description="Start it with the supervisor.")
    stop_signal: SignalName = Field("SIGTERM", description="Asks it to stop.")
    stop_timeout: Duration = Field(10.0, description="From that to SIGKILL.")
    restart: Literal["always", "on-failure", "never"] = Field("on-failure", description="When it ended by itself.")
    ready: Ready | None = Field(
        None,
        description="How it is known that it is ready, within grace: notify, fd, ended, or a check; default: once "
        "its process exists.",
    )
    after: list[ProgramPattern] = Field(
        [], max_length=NAMES_MAX, description="Programs that are to be ready before it starts; names or patterns."
    )
    notify_access: NotifyAccess = NOTIFY_ACCESS
    budget: BudgetField | None = Field(None, description="Restarts allowed; default: 3 per 10m.")
    backoff: BackoffField | None = Field(None, description="Wait before a restart; default: 1s..60s.")
    log: PathField | None = Field(
        None, description="For stdout and stderr; default: logs/NAME.log beside the journal."
    )
    log_bytes_max: Size = Field(10 * 1024 * 1024, alias="log_size", description="Then it is rotated.")
    log_files_max: Annotated[int, Field(ge=1, le=1000)] = Field(5, alias="log_files", description="Files kept.")
    dies_with_supervisor: bool = Field(False, description="False: the next supervisor adopts it.")


class NotifyTable(Table):
    """Where notifications go: apprise URLs, which may hold ${ENV}."""

    urls: list[NotifyUrl] = Field([], max_length=100, description="apprise URLs, such as mailto://…")
    urls_file: UrlsFile | None = Field(None, description="A file with such URLs, one a line.")

    @model_validator(mode="after")
    def _some(self) -> NotifyTable:
        if not self.urls and self.urls_file is None:
            raise ValueError("urls or urls_file is required")
        return self


class File(Table):
    """banken.toml, the config file of banken."""

    model_config = ConfigDict(title="banken.toml")

    supervisor: SupervisorTable = Field(default_factory=lambda: SupervisorTable.model_validate({}))
    cluster: ClusterTable | None = Field(None)
    upward: UpwardTable | None = Field(None)
    watchdog: list[WatchdogTable] = Field([])
    group: list[GroupTable] = Field([])
    program: list[ProgramTable] = Field([])
    callbacks: dict[Name, Target] = Field({}, description='name = "module:function"')
    actions: dict[Name, Target] = Field({}, description='name = "module:Class"')
    notify: dict[Name, NotifyTable] = Field({}, description="Targets for people, by name.")


STEP = TypeAdapter[Any](AnyStep)
"""Checks one step by itself."""

WATCH_KEYS = frozenset(WatchFields.model_fields)
"""Any of these in [[program]] makes it a watched one."""
