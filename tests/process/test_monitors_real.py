"""examples/monitors: each does what its Python original does, with all its times shortened."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from process.kit import Home, until
from process.ladder_kit import LONG, House

pytestmark = pytest.mark.process

MONITORS = Path(__file__).parents[2] / "examples" / "monitors"

WORKER = """
import pathlib, sys, time
run = len(list(pathlib.Path(".").glob("run-*")))
pathlib.Path(f"run-{run}").touch()
for step in range(100000):
    print("step", step)
    time.sleep(0.05)
    if step == 40 and run == 0: time.sleep(1000)
    if step == 20 and run == 1: sys.exit(3)
"""


def shortened(name: str, speed: float, **words: str) -> str:
    """The example with every duration divided by ``speed``, and other words in it replaced."""
    text = (MONITORS / name).read_text()
    for old, new in words.items():
        assert old in text
        text = text.replace(old, new)
    seconds = {"s": 1.0, "m": 60.0, "h": 3600.0}

    def shorter(found: re.Match[str]) -> str:
        return f"{max(100, int(float(found[2]) * seconds[found[3]] / speed * 1000))}ms{found[4]}"

    return re.sub(r'(?<=")((?:<[^"]* for )?)(\d+)([smh])(")', lambda f: f[1] + shorter(f), text)


def test_every_monitor_is_run_by_a_test() -> None:
    """A new one cannot be forgotten here."""
    assert sorted(path.name for path in MONITORS.iterdir()) == [
        "network.toml", "process_monitor.toml", "resources.toml",
    ]  # fmt: skip


def test_a_child_that_hangs_or_dies_is_started_again_and_so_is_a_process_of_somebody_else(house: House) -> None:
    """The first child hangs, the second dies, the third does its work."""
    name = f"bkgame{os.getpid()}"
    place = house.place
    shutil.copy(shutil.which("sleep") or "/bin/sleep", place / name)
    (place / "worker.py").write_text(WORKER)
    (place / "start-game.sh").write_text(
        f"{place}/{name} 1000 >/dev/null 2>&1 </dev/null & echo $! > {place}/pid\n"
    )
    text = shortened("process_monitor.toml", 40, **{"VRChat.exe": name, "python3": sys.executable})
    events = house.run(text.replace('"start-game.sh"', f'"{place}/start-game.sh"'))
    hang = events.until(LONG, "expired", "worker/check")
    assert hang["cause"] == "check"
    events.until(LONG, "expired", "worker", cause="exited")
    until(lambda: len(list(place.glob("run-*"))) >= 3, "the third child runs", LONG)
    until(lambda: house.row("worker/check")["state"] == "alive", "its check passes", LONG)
    game = events.until(LONG, "recovered", "game/check")
    pid = int((place / "pid").read_text())
    try:
        began = time.time()
        os.kill(pid, signal.SIGKILL)
        until(lambda: len(events.all("expired", "game/check")) == 2, "its end is noticed", LONG)
        assert events.all("expired", "game/check")[1]["time"] - began < 0.5
        until(lambda: len(events.all("recovered", "game/check")) == 2, "it was started again", LONG)
        assert events.all("recovered", "game/check")[1]["time"] > game["time"]
    finally:
        os.kill(int((place / "pid").read_text()), signal.SIGKILL)


@pytest.mark.root
def test_the_network_is_there_as_long_as_one_host_answers(address: str) -> None:
    """The hosts are addresses of a network namespace, which are taken away one after the other."""
    hosts = ("8.8.8.8", "1.1.1.1", "9.9.9.9")
    place = Path(address).parent
    file = place / "banken.toml"
    file.write_text(shortened("network.toml", 75, **{'"reset-network.sh"': f'"{place}/reset-network.sh"'}))
    (place / "reset-network.sh").write_text(f"ip addr add {hosts[0]}/32 dev lo\n")
    addresses = "; ".join(f"ip addr add {host}/32 dev lo" for host in hosts)
    run = f"set -e; ip link set lo up; {addresses}; exec {sys.executable} -m banken_supervisor run -c {file}"
    command = ["unshare", "-n", "sh", "-c", f"{run} --address {address}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    home = Home(address)
    assert process.stderr is not None
    with process, process.stderr:
        try:
            until(lambda: process.poll() is not None or os.path.exists(f"{address}/feed"), "it runs", LONG)
            if process.poll() is not None:
                pytest.skip(f"cannot make a network namespace: {process.stderr.read().decode()}")
            until(lambda: _alive(home) == 3, "all answer", LONG)
            events = home.events()
            for left, host in enumerate(hosts[::-1], 1):
                if left == 3:
                    assert events.all("expired", "network") == []
                _in_namespace(process.pid, "ip", "addr", "del", f"{host}/32", "dev", "lo")
                until(lambda left=left: _alive(home) == 3 - left, f"{host} does not answer", LONG)
            events.until(LONG, "expired", "network")
            events.until(LONG, "action-done", "network", do="exec")
            events.until(LONG, "recovered", "network")
        finally:
            home.close()
            process.terminate()
            process.wait(20)


def _alive(home: Home) -> int:
    rows: dict[str, dict[str, Any]] = home.rows("internet/check*")
    return sum(row["state"] == "alive" for row in rows.values())


def _in_namespace(pid: int, *command: str) -> None:
    subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", *command], check=True, timeout=20)


def test_only_a_load_that_lasts_is_an_alarm(house: House) -> None:
    """A processor that is busy for less than it takes is none; then one that is; then memory that is short."""
    place = house.place
    (place / "free-some.sh").write_text(f"touch {place}/freed\n")
    text = shortened("resources.toml", 200, **{'"free-some.sh"': f'"{place}/free-some.sh"'})
    quiet = text.replace("< 80 %", "< 101 %").replace("< 85 %", "< 101 %")
    events = house.run(quiet)
    until(lambda: house.row("machine/check-2").get("state") == "alive", "memory is looked at", LONG)
    events.during(1.0)
    assert events.convicted() == set()
    busy = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        house.file.write_text(quiet.replace('cpu = "< 101 %', 'cpu = "< 50 %'))
        began = time.time()
        house.banken("reload")
        verdict = events.until(LONG, "expired", "machine/check")
        assert verdict["time"] - began > 1.5  # 5m / 200
    finally:
        for each in busy:
            each.kill()
            each.wait()
    until((place / "freed").exists, "something is done", LONG)
    house.file.write_text(quiet)
    house.banken("reload")
    events.until(LONG, "recovered", "machine/check")
    house.file.write_text(quiet.replace('memory = "< 101 %', 'memory = "< 0.1 %'))
    house.banken("reload")
    short = events.until(LONG, "expired", "machine/check-2")
    assert "memory" in short["reason"]
    house.file.write_text(quiet)
    house.banken("reload")
    events.until(LONG, "recovered", "machine/check-2")
