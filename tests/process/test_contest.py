"""Several feeders, and one that feeds without measure."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from banken.process_identity import own_identity, process_start
from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from banken_supervisor.engine.snapshot import RETURN_S
from banken_supervisor.journal import restore
from banken_supervisor.processes.handle import STATUS_KNOWN
from process.kit import Home, until
from process.ladder_kit import House

pytestmark = pytest.mark.process


PID_MAX = 2**22
"""The kernel gives no higher number to a process."""


def _owners(house: House) -> list[int]:
    """The owners of watchdogs, as the journal has them."""
    registry = restore(f"{house.place}/journal.db").registry
    return [each.owner.pid for each in registry if each.owner is not None]


def processor_seconds(pid: int) -> float:
    """What its main thread has used: how much others leave to it on a busy machine is another matter."""
    fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_newest_process_owns_a_name_and_older_ones_are_refused(home: Home) -> None:
    """Two processes feed one name: the newer is its owner, the contest is told once, the older one's feeds are
    refused. When the newer dies, the name is the older one's again."""
    home.supervisor()
    events = home.events()
    older = home.worker("feeder", "wanted", 2.0, 0.05)
    older.hear()
    until(lambda: home.row("wanted").get("pid") == older.pid, "the older one owns it")
    newer = home.worker("feeder", "wanted", 2.0, 0.05)
    newer.hear()
    contest = events.until(10, "contest", "wanted")
    assert (contest["pid"], contest["refused_pid"]) == (newer.pid, older.pid)
    before = home.refused()["contest"]
    events.during(1.0)  # the older one feeds all the time, and does not take the name back
    assert home.row("wanted")["pid"] == newer.pid
    assert home.refused()["contest"] - before >= 5
    assert events.convicted() == set()
    newer.kill()
    back = events.until(10, "handed-back", "wanted")
    assert (back["pid"], back["former_pid"], back["status"]) == (older.pid, newer.pid, -9 if STATUS_KNOWN else None)
    events.during(1.0)
    assert len(events.all("contest")) == 1
    assert events.convicted() == set()
    older.kill()
    events.until(10, "expired", "wanted")


def test_a_name_goes_back_where_the_newest_ended_while_no_supervisor_ran(house: House) -> None:
    """The next supervisor knows of no contest: it hears an older process feed, and finds the owner's ended."""
    config = f'[supervisor]\njournal = "{house.place}/journal.db"\n[[watchdog]]\nname = "wanted"\ntimeout = "2s"\n'
    house.run(config)
    older = house.worker("feeder", "wanted", 2.0, 0.05)
    older.hear()
    until(lambda: house.row("wanted").get("pid") == older.pid, "the older one owns it")
    newer = house.worker("feeder", "wanted", 2.0, 0.05)
    newer.hear()
    until(lambda: newer.pid in _owners(house), "the newer one is the owner in the journal")
    house.run_by.kill()
    newer.kill()
    events = house.run(config)
    until(lambda: house.row("wanted").get("pid") == older.pid, "the older one owns it again", RETURN_S)
    events.during(RETURN_S)  # no end is judged later
    assert house.row("wanted")["state"] == "alive"
    assert house.row("wanted")["incidents"] == 0


@pytest.mark.parametrize("timeout", [0.5, 0.001])
def test_a_name_goes_back_where_one_message_gave_it_to_a_process_that_there_is_not(
    home: Home, timeout: float
) -> None:
    """Its start could be one. It is silent: who feeds has the name then, and ends the incident if there is one."""
    home.supervisor()
    worker = home.worker("feeder", "wanted", 2.0, 0.05)
    worker.hear()
    until(lambda: home.row("wanted").get("pid") == worker.pid, "it is watched")
    nobody = ProcessIdentity(own_identity().boot, PID_MAX + 1, process_start(worker.pid) + 1, b"none")
    frame = encode(Message(Kind.FEED, "wanted", nobody, 0.0, Declaration(timeout, 3600.0, 3600.0)))
    home.ask("tell", frame=frame)
    until(lambda: home.row("wanted")["pid"] == worker.pid, "it is the worker's again", 10.0)
    until(lambda: home.row("wanted")["state"] == "alive", "its feeds are taken", 10.0)


def test_an_older_process_that_comes_late_is_refused(home: Home) -> None:
    """Newer is who was started later, not whose feed came later."""
    home.supervisor()
    events = home.events()
    older = home.worker("waits", "wanted")
    older.hear()
    newer = home.worker("feeder", "wanted", 1, 0.05)
    newer.hear()
    until(lambda: home.row("wanted").get("pid") == newer.pid, "the newer one owns it")
    older.tell()
    older.hear()
    assert events.until(10, "contest", "wanted")["refused_pid"] == older.pid
    assert home.row("wanted")["pid"] == newer.pid


def test_any_process_of_a_pool_proves_life(home: Home) -> None:
    """feeders="any": no contest. The death of one is nothing; that of the last is an incident."""
    home.supervisor()
    events = home.events()
    pool = [home.worker("feeder", "pool", 2.0, 0.05, "any") for _ in range(2)]
    for one in pool:
        one.hear()
    until(lambda: home.ask("summary")["processes_watched"] == 2, "both are known")
    pool[0].kill()
    events.during(1.0)
    assert events.convicted() == set()
    pool[1].kill()
    verdict = events.until(10, "expired", "pool")
    assert verdict["cause"] == "exited"
    assert events.all("contest") == []
    assert home.refused() == {}


def test_a_flood_convicts_nobody_and_hides_nobody(home: Home) -> None:
    """One client that sends as fast as it can, for 4 s, while others feed as they should: no false verdict; and
    one that falls silent meanwhile is found."""
    supervisor = home.supervisor()
    events = home.events()
    silent = home.worker("feeder", "silent", 1.0, 0.1)
    silent.hear()
    home.worker("herd", 8, 1.0, 0.2).hear()
    until(lambda: home.ask("summary")["states"]["alive"] == 9, "all are fed")
    flooding = home.worker("flood", "flooded")
    flooding.hear()
    before, spent = home.ask("summary"), processor_seconds(supervisor.pid)
    began = time.monotonic()
    events.during(1.5)
    silent.kill()
    killed = time.time()
    found = events.until(10, "expired", "silent")["time"] - killed
    events.during(max(0.5, began + 4.0 - time.monotonic()))
    after, spent = home.ask("summary"), processor_seconds(supervisor.pid) - spent
    flooding.tell("report")
    report = flooding.hear()
    rate = (after["messages"] - before["messages"]) / spent
    print(
        f"{rate:,.0f} messages read in a second of its processor time; sent {report['sent']:,}, dropped "
        f"{report['dropped']:,}; overloaded turns {after['overloads']}, lost {after['lost']:.3f} s; the silent one "
        f"was found {found:.3f} s after its death"
    )
    assert events.convicted() == {"silent"}
    assert rate > 20_000
    assert found <= 1.0 + 1.0
