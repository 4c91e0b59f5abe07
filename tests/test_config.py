"""A config file that is well becomes frozen data of the core's own types."""

from __future__ import annotations

import dataclasses
import json
import re
import resource
import signal
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from banken.protocol.messages import Declaration, Exit, Feeders
from banken_supervisor import config
from banken_supervisor.config import Config, cron, finding
from banken_supervisor.config.models import SupervisorTable
from banken_supervisor.engine.ladder import Backoff, Budget, Ladder, Step
from banken_supervisor.engine.policy import (
    NEVER,
    Auto,
    Policy,
    ProcessAttributes,
    ProgramSpec,
    Readiness,
    Restart,
    Strategy,
    Window,
)
from banken_supervisor.text.secret import Secret

WHSEC = "whsec_" + "c2VjcmV0IQ" * 4
"""A secret as Standard Webhooks has it: 30 bytes in base64."""


def load(directory: Path, text: str, **options: Any) -> Config:
    """The config in ``text``, as a file in ``directory``."""
    file = directory / "banken.toml"
    file.write_text(text)
    return config.load(file, **options)


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    """Nothing said is nothing wrong."""
    made = load(tmp_path, "")
    assert made == Config(tmp_path / "banken.toml", SupervisorTable.model_validate({}))
    assert made.settings.for_undeclared == Declaration(60.0, 20.0, 60.0)
    assert made.directory == str(tmp_path)


def test_the_supervisors_own_settings(tmp_path: Path) -> None:
    """Each key of [supervisor] arrives, durations in seconds, sizes in bytes, paths absolute."""
    made = load(
        tmp_path,
        """
        [supervisor]
        address = "run"
        callback_limit = "1m30s"
        callback_threads = 8
        stop_timeout = 2
        undeclared = "refuse"
        defaults = { timeout = "10s", interval = 5, grace = "1m" }
        journal = "sub/../j.db"
        retention = { age = "7d", size = "10 MB" }
        """,
    ).settings
    assert (made.address, made.journal) == (str(tmp_path / "run"), str(tmp_path / "j.db"))
    assert (made.callback_limit, made.callback_threads, made.stop_timeout) == (90.0, 8, 2.0)
    assert made.declaration == Declaration(10.0, 5.0, 60.0)
    assert made.for_undeclared is None
    assert (made.retention.age, made.retention.size) == (7 * 86400.0, 10_000_000)


def test_a_watchdog_with_all_its_fields(tmp_path: Path) -> None:
    """Every field of [[watchdog]] has its place in the policy."""
    made = load(
        tmp_path,
        """
        [[watchdog]]
        name = "parent"
        [[watchdog]]
        name = "w-*"
        timeout = "auto"
        auto = { least = "5s", most = "2m", warm_up = 7 }
        interval = "250ms"
        grace = "1h30m"
        feeders = "any"
        progress_timeout = 90
        exit = "incident"
        clean = [3, "usr1", 0]
        min_interval = "1s"
        callback = "ring"
        observe = true
        depends_on = ["parent"]
        maintenance = [{ cron = "0 3 * * *", for = "1h" }]
        ladder = [
          { do = "dump", seconds = 2 },
          { do = "log", after = "9s", level = "warning", repeat = 3, budget = "3 per 10m", backoff = "1s..60s" },
          { do = "signal", after = "20s", signal = "term" },
        ]
        on_give_up = { do = "log", text = "gone" }
        [callbacks]
        ring = "alarms:ring"
        """,
    )
    assert made.callbacks == (("ring", "alarms:ring"),)
    assert made.policies[1] == (
        "w-*",
        Policy(
            Declaration(120.0, 0.25, 5400.0, Feeders.ANY, "ring", 90.0, Exit.INCIDENT, (-signal.SIGUSR1, 0, 3)),
            Ladder(
                (
                    Step("dump", options=(("seconds", 2.0),)),
                    Step("log", 9.0, "warning", 3.0, Budget(3, 600.0), Backoff(1.0, 60.0)),
                    Step("signal", 20.0, options=(("signal", "SIGTERM"),)),
                ),
                (Step("log", options=(("text", "gone"),)),),
                observe=True,
            ),
            1.0,
            Auto(5.0, 120.0, 7),
            ("parent",),
            (Window("0 3 * * *", 3600.0),),
        ),
    )


@pytest.mark.parametrize(
    ("table", "declaration"),
    [
        ("", (NEVER, 20.0, NEVER)),
        ("[supervisor]\ndefaults = { timeout = 9, grace = 7, interval = 3 }", (NEVER, 3.0, NEVER)),
        ("timeout = 600", (600.0, 20.0, 600.0)),
        ("timeout = 600\n[supervisor]\ndefaults = { grace = 7 }", (600.0, 20.0, 600.0)),
        ("timeout = 600\ngrace = 5", (600.0, 20.0, 5.0)),
        ("interval = 0.5", (NEVER, 0.5, NEVER)),
        ("timeout = 0.05\nexpect = true", (0.05, 20.0, 60.0)),
        ("timeout = 600\nexpect = true", (600.0, 20.0, 600.0)),
    ],
)
def test_what_a_watchdog_leaves_out(tmp_path: Path, table: str, declaration: tuple[float, float, float]) -> None:
    """The defaults fill in; grace follows a timeout that is given, as it does for a worker; no timeout, none."""
    made = load(tmp_path, f'[[watchdog]]\nname = "a"\n{table}')
    assert made.policies[0][1].declaration[:3] == declaration


def test_every_action_takes_its_options(tmp_path: Path) -> None:
    """Options arrive checked, sorted by name, and only those that were given."""
    (tmp_path / "hook.secret").write_text(f"{WHSEC}\n")
    made = load(
        tmp_path,
        """
        [[program]]
        name = "p"
        command = "sleep 1"
        ladder = [
          { do = "callback", callback = "c" },
          { do = "exec", command = "logger 'a b'", timeout = "5s", output_max = "64KiB" },
          { do = "signal", signal = "SIGUSR1" },
          { do = "kill", wait = "3s", group = true },
          { do = "restart" },
          { do = "webhook", url = "http://127.0.0.1:1/x", secret_file = "hook.secret", retries = 2 },
          { do = "notify", to = "n" },
          { do = "dump" },
          { do = "log" },
          { do = "mine", depth = 3, parts = [1, 2] },
        ]
        [callbacks]
        c = "m:f"
        [notify.n]
        urls = ["json://127.0.0.1"]
        [actions]
        mine = "m:Mine"
        """,
    )
    assert [(step.do, dict(step.options)) for step in made.policies[0][1].ladder.steps] == [
        ("callback", {"callback": "c"}),
        ("exec", {"command": ("logger", "a b"), "timeout": 5.0, "output_max": 65536}),
        ("signal", {"signal": "SIGUSR1"}),
        ("kill", {"wait": 3.0, "group": True}),
        ("restart", {}),
        (
            "webhook",
            {"url": Secret("http://127.0.0.1:1/x"), "secret_file": str(tmp_path / "hook.secret"), "retries": 2},
        ),
        ("notify", {"to": "n"}),
        ("dump", {}),
        ("log", {}),
        ("mine", {"depth": 3, "parts": [1, 2]}),
    ]
    assert made.actions == (("mine", "m:Mine"),)


def test_programs_are_resolved_one_by_one(tmp_path: Path) -> None:
    """``{i}`` is filled in everywhere, paths begin at the file, and a watched program has a policy of its name."""
    made = load(
        tmp_path,
        """
        [[program]]
        name = "web-{i}"
        numprocs = 2
        command = ["serve", "--port", "80{i}"]
        env = { N = "{i}" }
        cwd = "sub"
        user = "nobody"
        order = -3
        autostart = false
        stop_signal = "INT"
        stop_timeout = "3s"
        restart = "always"
        budget = "5 per 1h"
        backoff = "500ms..2s"
        log = "web-{i}.log"
        log_size = "1MiB"
        log_files = 2
        dies_with_supervisor = true
        timeout = "7s"
        [[program]]
        name = "plain"
        command = "sleep  '1 2'"
        """,
    )
    assert made.programs[1] == ProgramSpec(
        "web-1",
        ("serve", "--port", "801"),
        (("N", "1"),),
        str(tmp_path / "sub"),
        "nobody",
        -3,
        False,
        "SIGINT",
        3.0,
        Restart.ALWAYS,
        Budget(5, 3600.0),
        Backoff(0.5, 2.0),
        str(tmp_path / "web-1.log"),
        1024 * 1024,
        2,
        True,
        env_clear=True,
    )
    assert made.programs[2] == ProgramSpec("plain", ("sleep", "1 2"))
    assert [name for name, _ in made.policies] == ["web-0", "web-1"]
    assert made.policies[0][1].declaration.timeout == 7.0


def test_what_a_programs_process_has_is_read(tmp_path: Path) -> None:
    """Octal digits, numbers, sizes; one limit is soft and hard."""
    made = load(
        tmp_path,
        """
        [[program]]
        name = "p{i}"
        numprocs = 1
        command = "true"
        umask = "027"
        nice = -5
        oom_score_adj = 100
        rlimits = { nofile = 512, as = "1GiB:2GiB", core = "unlimited", cpu = "1:unlimited" }
        env_file = "env-{i}"
        env_clear = true
        """,
    ).programs[0]
    gib, none = 1 << 30, resource.RLIM_INFINITY
    limits = ("nofile", 512, 512), ("as", gib, 2 * gib), ("core", none, none), ("cpu", 1, none)
    assert made.attributes == ProcessAttributes(0o027, -5, 100, limits)
    assert (made.env_file, made.env_clear) == (str(tmp_path / "env-0"), True)


def test_with_a_user_a_program_has_a_logins_environment_unless_it_says_otherwise(tmp_path: Path) -> None:
    """What is in the supervisor's environment is for its own user."""
    one = '[[program]]\nname = "p{i}"\ncommand = "true"\n'
    for more, cleared in (("", False), ('user = "x"\n', True), ("user = 7\nenv_clear = false\n", False)):
        assert load(tmp_path, one + more).programs[0].env_clear is cleared


def test_a_group_of_programs(tmp_path: Path) -> None:
    """Strategy, budget and ladder of a group; its members may be patterns."""
    made = load(
        tmp_path,
        """
        [[program]]
        name = "w{i}"
        numprocs = 3
        command = "sleep 1"
        [[group]]
        name = "all"
        members = ["w*"]
        at_least = 3
        strategy = "rest-for-one"
        budget = "9 per 1m"
        ladder = [{ do = "exec", command = ["true"] }]
        """,
    ).groups[0]
    assert made[:5] == ("all", ("w*",), 3, Strategy.REST_FOR_ONE, Budget(9, 60.0))
    assert [step.do for step in made.ladder.steps] == ["exec"]


def test_callbacks_that_the_caller_binds_are_known(tmp_path: Path) -> None:
    """A program that embeds the supervisor binds functions itself."""
    text = '[[watchdog]]\nname = "a"\ncallback = "mine"'
    assert load(tmp_path, text, callbacks={"mine"}).policies[0][1].declaration.callback == "mine"
    with pytest.raises(config.ConfigFaults, match="bound nowhere"):
        load(tmp_path, text)


def test_a_config_cannot_be_changed(tmp_path: Path) -> None:
    """It is shared between threads."""
    made = load(tmp_path, "")
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.programs = ()  # type: ignore[misc]


SECRETS = """
[[watchdog]]
name = "a"
ladder = [{ do = "webhook", url = "https://h/${BK_TOKEN}", secret = "${BK_SECRET}" }]
[notify.n]
urls = ["slack://${BK_TOKEN}/$${b}"]
urls_file = "team.urls"
"""


def test_secrets_come_from_environment_and_files_and_are_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither repr nor str of anything shows one; reveal() does."""
    monkeypatch.setenv("BK_TOKEN", "t0ken")
    monkeypatch.setenv("BK_SECRET", WHSEC)
    (tmp_path / "team.urls").write_text("# ours\n\njson://f1le:80\n  xml://f1le:81  \n")
    made = load(tmp_path, SECRETS)
    step = made.policies[0][1].ladder.steps[0]
    assert {key: value.reveal() for key, value in step.options} == {"url": "https://h/t0ken", "secret": WHSEC}
    assert [url.reveal() for url in made.notify[0][1]] == ["slack://t0ken/${b}", "json://f1le:80", "xml://f1le:81"]
    shown = f"{made!r} {made} {step} {dict(step.options)} {Secret(WHSEC)} {[Secret(WHSEC)]!s}"
    assert not re.search(f"t0ken|{WHSEC}|f1le", shown)
    assert Secret("a") == Secret("a") != Secret("b")


def test_the_example_passes_and_shows_every_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands it passes the deep check; with all that is switched off switched on, it loads too."""
    file = tmp_path / "banken.toml"
    file.write_text(config.example())
    assert config.examine(file)[1] == []
    for name in ("MAIL_USER", "MAIL_PASSWORD", "HOOK_SECRET"):
        monkeypatch.setenv(name, WHSEC)
    (tmp_path / "team.urls").write_text("json://127.0.0.1")
    whole = re.sub(r"^#(?=[^ #])", "", config.example(), flags=re.MULTILINE).replace("\n#  {", "\n  {")
    assert whole.count("\n#") < config.example().count("\n#") - 10
    made = load(tmp_path, whole)
    assert {step.do for _, policy in made.policies for step in policy.ladder.steps} >= {"notify", "webhook", "page"}
    for key in ("supervisor", "watchdog", "program", "group"):
        table = tomllib.loads(whole)[key]
        keys = set().union(*table) if isinstance(table, list) else set(table)
        model = {"supervisor": "Supervisor", "watchdog": "Watchdog", "program": "Program", "group": "Group"}[key]
        known = set(config.schema()["$defs"][f"{model}Table"]["properties"])
        watchdogs = set(config.schema()["$defs"]["WatchdogTable"]["properties"]) - {"name"}
        assert known - keys <= (watchdogs if key == "program" else set()), f"[{key}] lacks some in the example"


def test_the_schema_is_one_and_takes_what_load_takes(tmp_path: Path) -> None:
    """A draft 2020-12 schema; the example and durations pass it, and what it can see is refused."""
    schema = config.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert list(validator.iter_errors(tomllib.loads(config.example()))) == []
    assert "null" not in json.dumps(schema)
    good = '[[watchdog]]\nname = "a"\n{}'
    for line in ('timeout = "1h30m"', "timeout = 2.5", 'timeout = "250ms"', 'ladder = [{ do = "kill" }]'):
        assert validator.is_valid(tomllib.loads(good.format(line))), line
        load(tmp_path, good.format(line))
    for line in (
        'timeout = "x"',
        "timeout = -1",
        'timeot = "1s"',
        'ladder = [{ do = "kill", signal = "SIGTERM" }]',
    ):
        assert not validator.is_valid(tomllib.loads(good.format(line))), line
        with pytest.raises(config.ConfigFaults):
            load(tmp_path, good.format(line))
    cluster = '[cluster]\nname = "c"\nmember = "a"\nendpoints = ["http://127.0.0.1:2379"]\nbrake = {}'
    assert validator.is_valid(tomllib.loads(cluster.format(3600)))
    assert not validator.is_valid(tomllib.loads(cluster.format(3601)))


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is named counts even if it is not there; else the first of the usual places."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(finding, "SYSTEM", tmp_path / "etc" / "banken.toml")
    home = {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), "HOME": "/none"}
    assert config.find(None, home) is None
    for place in ("etc/banken.toml", "xdg/banken/banken.toml", "banken.toml"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
        found = config.find(None, home)
        assert found is not None
        assert found.absolute() == tmp_path / place
    assert config.find(None, {**home, "BANKEN_CONFIG": "/no/such"}) == Path("/no/such")
    assert config.find(None, {**home, "BANKEN_CONFIG": ""}) == Path("banken.toml")
    assert config.find("explicit", {**home, "BANKEN_CONFIG": "/no/such"}) == Path("explicit")
    assert finding.places({"HOME": "/h"})[1] == Path("/h/.config/banken/banken.toml")


@pytest.mark.parametrize(
    ("now", "until", "opens"),
    [
        (datetime(2026, 1, 1, 2, 59, 59), None, datetime(2026, 1, 1, 3)),
        (datetime(2026, 1, 1, 3, 0, 0), datetime(2026, 1, 1, 4, 30), datetime(2026, 1, 1, 4)),
        (datetime(2026, 1, 1, 3, 59, 59), datetime(2026, 1, 1, 4, 30), datetime(2026, 1, 1, 4)),
        (datetime(2026, 1, 1, 4, 10), datetime(2026, 1, 1, 5), datetime(2026, 1, 2, 3)),
        (datetime(2026, 1, 1, 5, 0), None, datetime(2026, 1, 2, 3)),
    ],
)
def test_when_a_maintenance_window_is_open(now: datetime, until: datetime | None, opens: datetime) -> None:
    """From its very moment to its end, not after; of two that overlap, the later end."""
    windows = (Window("0 3 * * *", 5400.0), Window("0 4 * * *", 3600.0))
    assert cron.open_until(windows, now) == until
    assert cron.next_opening(windows, now) == opens
    assert cron.next_opening((), now) is None


@pytest.mark.parametrize(
    ("written", "is_local"), [("", None), ('scope = "local"\n', True), ('scope = "cluster"\n', False)]
)
def test_whose_a_watchdog_is(tmp_path: Path, written: str, is_local: bool | None) -> None:
    """This host's, the cluster's, or by who feeds it."""
    cluster = '[cluster]\nname = "c"\nmember = "a"\nendpoints = ["https://h:2379"]\n'
    made = load(tmp_path, f'{cluster}[[watchdog]]\nname = "w"\n{written}')
    assert made.policies[0][1].is_local is is_local


def test_what_starts_after_others(tmp_path: Path) -> None:
    """``after`` takes names and patterns, each process of many on its own; a check of readiness has a place of its
    own, and runs each second if the file does not say how often."""
    made = load(
        tmp_path,
        '[[program]]\nname = "web-{i}"\nnumprocs = 2\ncommand = ["true"]\nafter = ["db-{i}", "cache-*"]\n'
        '[[program]]\nname = "db-{i}"\nnumprocs = 2\ncommand = ["true"]\nready = { tcp = "127.0.0.1:700{i}" }\n'
        '[[program]]\nname = "cache-a"\ncommand = ["true"]\nready = { fd = 4 }\n',
    )
    programs = {spec.name: spec for spec in made.programs}
    assert programs["web-1"].after == ("db-1", "cache-a")
    assert programs["db-0"].ready == Readiness(check=True)
    assert programs["cache-a"].ready == Readiness(fd=4)
    found = [(check.name, check.of, check.label, check.every) for check in made.checks]
    assert found == [(f"db-{i}/ready", f"db-{i}", f"tcp 127.0.0.1:700{i}", 1.0) for i in (0, 1)]
