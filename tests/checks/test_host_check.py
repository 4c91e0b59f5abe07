"""``host`` on this machine; of sensors, which a virtual machine has not, a recorded double."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.checks.frozen import dead_mount
from tests.checks.kit import fails, look, nothing_left, passes

from banken.errors import Refused
from banken_supervisor.checks.subject import Subject
from banken_supervisor.checks.thresholds import PERCENT, Since, threshold
from banken_supervisor.config.checks import parse_checks


def test_disk_is_what_df_says() -> None:
    """In percent, and in bytes."""
    done = subprocess.run(["df", "--output=pcent,ipcent", "/"], capture_output=True, text=True, check=True)
    used = [int(word.rstrip("%")) for word in done.stdout.splitlines()[1].split() if word != "-"]
    text = passes({"host": {"disk": "/ < 100.1 %"}})
    shown = float(text.removeprefix("disk / ").split()[0])
    assert abs(shown - max(used)) <= 1.1  # df rounds up
    assert "disk / " in fails({"host": {"disk": ["/ < 0.01 %", "/proc < 5 %"]}})
    bytes_used = shutil.disk_usage("/").used
    passes({"host": {"disk": f"/ < {bytes_used * 2 // 1000}kB"}})
    fails({"host": {"disk": f"/ < {bytes_used // 2000}kB"}})
    assert "No such file" in fails({"host": {"disk": "/no/such < 90 %"}})


@pytest.mark.root
def test_a_file_system_that_is_full_and_one_that_is_dead(tmp_path: Path) -> None:
    """A real one, filled; and one that never answers."""
    (tmp_path / "full").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "none", str(tmp_path / "full")]).returncode:
        pytest.skip("cannot mount a tmpfs")
    check = {"host": {"disk": f"{tmp_path}/full < 90 %"}, "limit": "300ms"}
    try:
        passes(check)
        (tmp_path / "full" / "x").write_bytes(b"x" * 1000_000)
        assert "% , < 90 % was expected" in fails(check).replace("%,", "% ,")
        (tmp_path / "full" / "x").unlink()
        passes(check)
    finally:
        subprocess.run(["umount", str(tmp_path / "full")], check=True)
    (tmp_path / "dead").mkdir()
    with nothing_left(), dead_mount(tmp_path / "dead"):
        text = fails({"host": {"disk": f"{tmp_path}/dead < 90 %"}, "limit": "300ms"})
        assert text == f"no result within 0.3 s: the file system of {tmp_path}/dead does not answer"


def test_memory_swap_and_load() -> None:
    text = passes({"host": {"memory": "< 100.1 %", "swap": "<= 100 %", "load": "< 100000"}})
    shown = float(text.removeprefix("memory ").split()[0])
    assert abs(shown - psutil.virtual_memory().percent) < 10
    assert "memory " in fails({"host": {"memory": "< 1kB"}})
    assert "was expected" in fails({"host": {"load": "> 100000"}})


@pytest.mark.process
def test_a_pass_is_provisional_until_each_limit_was_kept_once() -> None:
    """CPU has no figure at the first look; what is exceeded then may have been so for long enough before."""
    first = look({"host": {"cpu": "< 101 %", "memory": "< 100.1 %"}}, subject := Subject("it"))
    assert (first.passed, first.provisional) == (True, True)
    time.sleep(0.1)
    second = look({"host": {"cpu": "< 101 %", "memory": "< 100.1 %"}}, subject)
    assert (second.passed, second.provisional) == (True, False)
    subject = Subject("it")
    assert [look({"host": {"memory": "< 0.1 % for 1h"}}, subject).provisional for _ in range(2)] == [True, True]
    failed = look({"host": {"cpu": "< 101 %", "memory": "< 1kB"}})
    assert (failed.passed, failed.provisional) == (False, False)
    since, limit = Since(), threshold("< 90 % for 1h", PERCENT, with_for=True)
    figures = (10.0, 95.0, 95.0)
    assert [since.judge({"memory": (each, limit)}).provisional for each in figures] == [False] * 3


def test_cpu_rises_for_a_time_and_falls() -> None:
    """A loop on every core, for less than a second."""
    check, subject = {"host": {"cpu": "< 80 % for 300ms"}}, Subject("it")
    assert passes(check, subject) == "cpu: the first look has nothing to compare with"
    busy = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        until = time.monotonic() + 10
        while (outcome := look(check, subject)).passed and time.monotonic() < until:
            time.sleep(0.1)
        assert "%, < 80 % for 300ms was expected" in outcome.text
    finally:
        for each in busy:
            each.kill()
            each.wait()


SENSORS = """
set -e
mount -t tmpfs none /sys/class
mkdir -p /sys/class/hwmon/hwmon0
cd /sys/class/hwmon/hwmon0
echo coretemp > name
[ -z "$1" ] || { echo "$1" > temp1_input; echo "Package id 0" > temp1_label; echo 38000 > temp2_input; }
exec "$2" -c "$3"
"""
LOOK = """
import asyncio
from banken_supervisor.checks.subject import Subject
from banken_supervisor.checks.thresholds import PERCENT, Since, threshold
from banken_supervisor.config.checks import parse_checks
print(*asyncio.run(parse_checks({"host": {"temperature": "< 85"}})[0].run(Subject("it")))[:2])
"""


@pytest.mark.root
@pytest.mark.process
@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("52000", "True temperature 52.0 °C"),
        ("91000", "False temperature 91.0 °C, < 85 was expected"),
        ("", "False this machine has no sensor of temperature that can be read"),
    ],
)
def test_the_hottest_sensor(package: str, words: str) -> None:
    """A double, for the machines of CI have no sensor: what the driver coretemp shows, mounted in its place."""
    command = ["unshare", "-m", "sh", "-c", SENSORS, "sh", package, sys.executable, LOOK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if "mount" in done.stderr:
        pytest.skip(f"cannot mount: {done.stderr}")
    assert done.stdout.strip() == words, done.stderr


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({}, "host: is empty; allowed is one such as"),
        ({"disk": "90 %"}, 'host.disk: "90 %" is no limit; allowed is a path and a comparison'),
        ({"disk": "/var < 90"}, 'host.disk: "< 90": has no unit; allowed is one such as "< 90 %"'),
        ({"disk": []}, "host.disk: has 0 limits"),
        ({"load": "< 8 %"}, 'host.load: .*"%" is no unit of this'),
        ({"temperature": "< 85F"}, 'host.temperature: .*"F" is no unit of this'),
        ({"files": "< 5"}, "host.files: unknown key; allowed: cpu, disk, load, memory, swap, temperature"),
    ],
)
def test_what_is_wrong_is_said(limits: dict[str, object], words: str) -> None:
    with pytest.raises(Refused, match=words):
        parse_checks({"host": limits})
