"""Where the output of a program goes, whoever moves its log, reads it, or could write its directory."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from banken_supervisor.files.trusted_files import open_file
from banken_supervisor.programs.log_files import open_log, rotate
from process.kit import until
from process.program_kit import Keeper, Yard, program, yard_at

pytestmark = pytest.mark.process

NOBODY = 65534

ON_SIGNAL = (
    "import os, signal, time\n"
    "signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b'one\\n'))\n"
    "signal.signal(signal.SIGUSR2, lambda *_: os.write(1, b'x' * 1_499 + b'\\n'))\n"
    "os.write(1, b'up\\n')\n"
    "while True: time.sleep(1000)\n"
)
"""It writes to its stdout when it is told to."""


@pytest.fixture
def yard(address: str) -> Iterator[Yard]:
    """Finds and ends the programs."""
    with yard_at(address) as one:
        yield one


def _up(yard: Yard, log: Path, size: int = 1_000) -> tuple[Keeper, int]:
    keeper = yard.keeper([program("a", ON_SIGNAL, log=str(log), log_bytes_max=size, log_files_max=2)])
    until(lambda: log.exists() and log.read_bytes() == b"up\n", "it runs")
    return keeper, yard.leaders()["a"][0]


def test_a_moved_log_is_made_anew_and_gets_what_is_written_to_the_old_file(yard: Yard, tmp_path: Path) -> None:
    log, moved = tmp_path / "log", tmp_path / "elsewhere" / "old"
    moved.parent.mkdir()
    keeper, pid = _up(yard, log)
    log.chmod(0o604)
    os.rename(log, moved)
    told = keeper.until("log-moved", "a")
    assert str(log) in told["text"]
    os.kill(pid, signal.SIGUSR1)
    until(lambda: log.read_bytes() == b"one\n", "the new file has it")
    assert stat.S_IMODE(log.stat().st_mode) == 0o604
    assert moved.read_bytes() == b"up\n"
    # The bound is kept in the new file, and the old one does not grow.
    os.kill(pid, signal.SIGUSR2)
    until(lambda: (tmp_path / "log.1").exists() and log.stat().st_size == 0, "it is rotated")
    assert (tmp_path / "log.1").stat().st_size == len("one\n") + 1_500
    until(lambda: moved.read_bytes() == b"up\n", "it was moved over")
    assert len(keeper.all("log-moved")) == 1


def test_a_removed_log_is_made_anew_and_the_lost_file_stays_empty(yard: Yard, tmp_path: Path) -> None:
    log = tmp_path / "log"
    keeper, pid = _up(yard, log)
    log.unlink()
    keeper.until("log-moved", "a")
    os.kill(pid, signal.SIGUSR1)
    until(lambda: log.exists() and log.read_bytes() == b"one\n", "the new file has it")
    until(lambda: os.stat(f"/proc/{pid}/fd/1").st_size == 0, "the file without a name holds nothing")


def test_a_log_that_another_file_replaced_goes_on_in_that_file(yard: Yard, tmp_path: Path) -> None:
    """As logrotate does it with `create`."""
    log = tmp_path / "log"
    keeper, pid = _up(yard, log)
    tmp_path.joinpath("new").write_bytes(b"mine\n")
    os.rename(log, tmp_path / "log.old")
    os.rename(tmp_path / "new", log)
    keeper.until("log-moved", "a")
    os.kill(pid, signal.SIGUSR1)
    until(lambda: log.read_bytes() == b"mine\none\n", "the replacing file has it")


def test_after_a_restart_the_program_writes_to_the_new_file_itself(yard: Yard, tmp_path: Path) -> None:
    log = tmp_path / "log"
    keeper, pid = _up(yard, log)
    os.rename(log, tmp_path / "old")
    keeper.until("log-moved", "a")
    keeper.tell("restart a")
    until(lambda: log.exists() and log.read_bytes() == b"up\n", "the new one runs")
    [again] = yard.leaders()["a"]
    assert again != pid
    assert os.path.samestat(os.stat(f"/proc/{again}/fd/1"), log.stat())


def test_without_a_log_output_goes_to_a_file_of_the_programs_name(yard: Yard) -> None:
    """Not to the keeper's stderr, which may be a pipe that nobody reads."""
    yard.keeper([program("web/1", ON_SIGNAL)])
    log = Path(yard.address) / "logs" / "web,1.log"
    until(lambda: log.exists() and log.read_bytes() == b"up\n", "it runs")
    [pid] = yard.leaders()["web/1"]
    for number in (1, 2):
        assert os.path.samestat(os.stat(f"/proc/{pid}/fd/{number}"), log.stat())
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700


def test_a_copy_has_the_mode_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 100)
    for mode in (0o600, 0o664, 0o640):
        log.write_bytes(b"x" * 100)
        log.chmod(mode)
        rotate(str(log), 10, 2)
        assert stat.S_IMODE((tmp_path / "log.1").stat().st_mode) == mode


@pytest.mark.root
def test_a_copy_has_the_owner_and_group_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 100)
    os.chown(log, NOBODY, 4)
    log.chmod(0o660)
    rotate(str(log), 10, 2)
    found = (tmp_path / "log.1").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (NOBODY, 4, 0o660)


@pytest.mark.root
def test_links_of_another_user_are_not_followed(tmp_path: Path) -> None:
    """In a directory of that user: neither as the log, nor on its way, nor as its copy."""
    theirs, victim = tmp_path / "theirs", tmp_path / "victim"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    victim.write_bytes(b"root's")
    for name, target in (("log", victim), ("way", tmp_path)):
        theirs.joinpath(name).symlink_to(target)
        os.chown(theirs / name, NOBODY, NOBODY, follow_symlinks=False)
    for path in (theirs / "log", theirs / "way" / "victim"):
        with pytest.raises(PermissionError, match=f"is a link that user {NOBODY} can change"):
            open_log(str(path))
    os.link(victim, theirs / "hard")
    with pytest.raises(PermissionError, match="it has a second name"):
        open_log(str(theirs / "hard"))
    real = theirs / "real"
    os.close(open_log(str(real), (NOBODY, NOBODY)))
    assert real.stat().st_uid == NOBODY
    real.write_bytes(b"x" * 100)
    theirs.joinpath("real.new").symlink_to(victim)
    theirs.joinpath("real.1").symlink_to(victim)
    rotate(str(real), 90, 2)
    assert (theirs / "real.1").read_bytes() == b"x" * 100
    assert not (theirs / "real.1").is_symlink()
    assert victim.read_bytes() == b"root's"


@pytest.mark.root
def test_a_file_of_another_user_in_a_directory_for_all_is_not_used(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    log = tmp_path / "log"
    log.touch()
    os.chown(log, NOBODY, NOBODY)
    with pytest.raises(PermissionError, match=f"it belongs to user {NOBODY}"):
        open_log(str(log))
    os.close(open_log(str(log), (NOBODY, NOBODY)))  # it is the program's own


def test_a_link_of_the_operators_own_is_followed(tmp_path: Path) -> None:
    real, link = tmp_path / "data" / "log", tmp_path / "link"
    real.parent.mkdir()
    link.symlink_to("data")
    os.close(open_log(str(link / ".." / "link" / "log")))
    assert real.exists()
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="symbolic links"):
        open_file(tmp_path / "round", os.O_RDONLY)
    with pytest.raises(IsADirectoryError):
        open_file("/", os.O_RDONLY)


def test_a_log_that_is_the_output_of_the_supervisor_must_be_a_file(tmp_path: Path) -> None:
    """/dev/stdout where it is a pipe is refused by what it is, not by how it is called."""
    code = "from banken_supervisor.programs.log_files import open_log\nopen_log('/dev/stdout')"
    command = [sys.executable, "-c", code]
    with (tmp_path / "out").open("wb") as file:
        subprocess.run(command, stdout=file, check=True)
    found = subprocess.run(command, capture_output=True, check=False)
    assert b"it is a pipe or a socket" in found.stderr
