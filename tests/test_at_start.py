"""What a reload finds changed, and cannot take: it is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from banken.control import Events
from banken_supervisor.cli.group import banken
from banken_supervisor.config import load
from banken_supervisor.config.at_start import changed
from banken_supervisor.config.settings import Config
from banken_supervisor.runtime.runtime_config import RuntimeConfig
from banken_supervisor.runtime.supervisor import Supervisor
from recovery_kit import until

CLUSTER = """[supervisor]
listen = ["tcp://0.0.0.0:7767"]
[cluster]
name = "plant"
member = "m1"
endpoints = ["http://127.0.0.1:2379"]
ttl = "5s"
"""


def config(directory: Path, text: str) -> Config:
    path = directory / "banken.toml"
    path.write_text(text)
    return load(path)


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (CLUSTER, CLUSTER.replace("5s", "7s"), ["[cluster] ttl"]),
        (
            CLUSTER,
            CLUSTER.replace("plant", "other").replace("7767", "7800"),
            ["[supervisor] listen", "[cluster] name"],
        ),
        (CLUSTER, CLUSTER.split("[cluster]")[0], ["[cluster]"]),
        (CLUSTER, CLUSTER + '[[watchdog]]\nname = "w"\ntimeout = "9s"\n', []),
        ('supervisor.retention.age = "9d"', 'supervisor.retention.age = "8d"', ["[supervisor] retention"]),
        ('supervisor.defaults.timeout = "9s"', 'supervisor.defaults.timeout = "8s"', []),
    ],
)
def test_what_waits_for_a_start(tmp_path: Path, before: str, after: str, named: list[str]) -> None:
    assert changed(config(tmp_path, before), config(tmp_path, after)) == named


def test_a_reload_says_it_until_it_is_as_at_the_start(tmp_path: Path, address: str) -> None:
    """In its answer, and in its event; a second reload says it again."""
    path = tmp_path / "banken.toml"
    path.write_text("supervisor.callback_threads = 7\n")
    supervisor = Supervisor(address)
    supervisor.configure(lambda: RuntimeConfig(load(path)))

    def reload() -> str:
        done = CliRunner().invoke(banken, ["reload", "--address", address])
        assert done.exit_code == 0, done.output
        return done.output

    with supervisor, Events(address) as events:
        text = "is in force; only at the supervisor's next start: [supervisor] callback_threads"
        path.write_text("supervisor.callback_threads = 8\n")
        assert text in reload()
        event = until(lambda: (each := events.next(1.0)) and each["type"] == "reloaded" and each, "it is told")
        assert event["later"] == ["[supervisor] callback_threads"]
        assert text in reload()
        path.write_text("supervisor.callback_threads = 7\n")
        assert "next start" not in reload()
