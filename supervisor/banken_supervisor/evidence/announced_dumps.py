"""What a worker offers its supervisor by ``client.enable_dumps()`` (the client's dumps module has the theory).

A signal without a handler would kill. So it is sent only when all of this holds: the file for exactly this pid and
start time exists, in a directory that only we may enter; this process holds its lock, which exec or a closed
descriptor would have freed; and the kernel says that the process catches the signal.

A killed worker leaves its files, which are worth nothing: a dump is read when it is taken. So the directory is
swept: it holds two files for each living worker and, for ``SWEEP_S`` at most, those of dead ones. After a sweep
each has at most ``DUMP_MAX`` bytes (a worker that another program keeps signalling appends a dump each time).
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, NamedTuple

from banken.address import USERS, directory_of_user
from banken.diagnostics.dumps import (
    DIRECTORY,
    HEADER,
    SOCKET_SUFFIX,
    TEMPORARY_PREFIX,
    allowed_signals,
)
from banken.process_identity import process_start
from banken_supervisor.evidence import process_facts, text
from banken_supervisor.evidence.time_limits import Deadline, TooLate
from banken_supervisor.processes.handle import ProcessHandle, real_user
from banken_supervisor.processes.peer_credentials import who_connected
from banken_supervisor.text.sanitize import from_json

DUMP_MAX = 1 << 20
"""Bytes read of a dump; 100 threads of 100 frames are about 800,000."""

ANSWER_MAX = 8 << 20
"""Bytes read of an answer; the client's limits keep it below 6 MB."""

QUIET_S = 0.05
"""A dump that does not grow for so many seconds is complete."""

LOOK_S = 0.005
"""Seconds between two looks at its size."""

_flock = struct.Struct("hhqqi0q")
"""struct flock: type, whence, start, length, pid."""


SWEEP_S = 600.0
"""Seconds between two sweeps."""

SWEPT_MAX = 100_000
"""Names that one sweep reads."""

_name = re.compile(
    rf"(?:{re.escape(TEMPORARY_PREFIX)})?([1-9][0-9]{{0,9}})-([0-9]{{1,19}})(?:{re.escape(SOCKET_SUFFIX)})?"
)


THREADS_WRITTEN_MAX = 100
"""faulthandler stops after so many threads; the main thread, the oldest, is then not among them."""

_thread_line = re.compile(r"(Current thread|Thread) 0x([0-9a-f]{1,16})(?: \[(.*)\])? \(most recent call first\):$")
_frame_line = re.compile(r'  File "(.*)", line (\d{1,9}|\?\?\?) in (.*)$')


class NotAnnounced(Exception):
    """This process cannot be asked; the message says why."""


class Announcement(NamedTuple):
    """One worker's file, verified."""

    path: str
    number: int
    """the signal that makes it dump; 0: none"""
    owner: int
    """the user id of its process"""


def find(address_directory: str, process: ProcessHandle) -> Announcement:
    """The announcement of exactly this process, which may run as another user; NotAnnounced."""
    user = real_user(process.pid)
    places = {os.geteuid(): address_directory}
    if user is not None and user != os.geteuid():
        places[user] = directory_of_user(address_directory, user)
    for owner, above in places.items():
        directory = os.path.join(above, DIRECTORY)
        path = os.path.join(directory, f"{process.own_pid}-{process.start}")
        try:
            found = os.lstat(directory)
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
                raise NotAnnounced(
                    f"{directory} is not a directory of user {owner} with mode 0700: what it holds is not trusted"
                )
            with _opened(path, owner) as fd:
                number = _number(os.pread(fd, 64, 0))
                if _holder(fd) != process.pid:
                    raise NotAnnounced(
                        "the process no longer holds its announcement: it runs another program by now"
                    )
            return Announcement(path, number, owner)
        except FileNotFoundError:
            continue
        except OSError as fault:
            raise NotAnnounced(f"its announcement {path} cannot be read: {fault.strerror}") from None
    raise NotAnnounced("it has not called client.enable_dumps()")


def dump(process: ProcessHandle, announced: Announcement, seconds: float) -> tuple[list[dict[str, Any]], bool]:
    """All threads' stacks by faulthandler, see ``parse``. NotAnnounced, TooLate, OSError.

    Not for a stopped process: the signal would wait until it goes on.
    """
    deadline = Deadline(seconds)
    if not announced.number:
        raise NotAnnounced("the signal it would dump at has another handler")
    with _opened(announced.path, announced.owner) as fd:
        while not _locked(fd):
            if not deadline.left():
                raise TooLate("another dump of it is under way")
            time.sleep(LOOK_S)
        start = os.pread(fd, 64, 0)
        if _number(start) != announced.number:  # it has looked since, and found that the program takes it
            raise NotAnnounced("the signal it would dump at has another handler by now")
        header = _header_length(start)
        os.ftruncate(fd, header)
        bit = 1 << (announced.number - 1)
        if not process_facts.signal_sets(process.pid).get("SigCgt", 0) & bit:
            raise NotAnnounced(f"it does not catch signal {announced.number}, which would kill it: not sent")
        ready = [tid for tid in process_facts.tids(process.pid)[:64] if not _blocks(process.pid, tid, bit)]
        process.signal(announced.number)
        try:
            _await_end(fd, header, process, ready, bit, deadline)
            return parse(os.pread(fd, DUMP_MAX, header).decode("utf-8", "replace"), process.pid)
        finally:
            os.ftruncate(fd, header)


def parse(dump: str, pid: int) -> tuple[list[dict[str, Any]], bool]:
    """(the threads, as ``text.thread`` makes them; whether all are there).

    What faulthandler does not know is None: which one runs, and who holds the interpreter lock.
    """
    threads: list[dict[str, Any]] = []
    whole = True
    for line in dump.splitlines():
        head = _thread_line.match(line)
        frame = _frame_line.match(line)
        if head:
            threads.append(text.thread(int(head[2], 16), None, head[3]))
        elif line == "..." and threads:
            whole = False
        elif frame and threads and len(threads[-1]["frames"]) < text.FRAMES_MAX:
            number = int(frame[2]) if frame[2].isdecimal() else 0
            threads[-1]["frames"].append(text.frame(frame[3], frame[1], number))
        elif (frame or line == "  ...") and threads:
            threads[-1]["frames_left_out"] += 1  # at "..." it does not say how many
        elif line.startswith("Current thread's C stack"):
            break
    if threads and whole:
        # It goes from the newest thread to the oldest.
        threads[-1]["main"] = True
        threads[-1]["tid"] = pid
        threads[-1]["name"] = threads[-1]["name"] or "MainThread"
    return threads, whole


def ask(announced: Announcement, process: ProcessHandle, seconds: float) -> dict[str, Any]:
    """What the worker's own thread says about its threads and tasks.

    NotAnnounced, OSError; TooLate is usual for a process that holds its interpreter lock.
    """
    deadline = Deadline(seconds)
    data = bytearray()
    end = -1
    try:
        # Opened first: connect would follow a link that another user has put there.
        end = os.open(announced.path + SOCKET_SUFFIX, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        if os.fstat(end).st_uid != announced.owner:
            raise NotAnnounced(f"{announced.path + SOCKET_SUFFIX} is not of user {announced.owner}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(max(0.001, deadline.left()))
            connection.connect(f"/proc/self/fd/{end}")
            peer, _ = who_connected(connection)
            if peer != process.pid:
                raise NotAnnounced(f"pid {peer} answers in its place")
            while some := connection.recv(65536):
                data += some
                if len(data) > ANSWER_MAX:
                    raise TooLate(f"more than {ANSWER_MAX} bytes of answer")
                connection.settimeout(max(0.001, deadline.left()))
    except TimeoutError:
        raise TooLate(f"it did not answer within {seconds:.1f} s") from None
    except (FileNotFoundError, ConnectionError):
        raise NotAnnounced("no thread of it answers") from None
    finally:
        if end >= 0:
            os.close(end)
    return answer_of(bytes(data))


def answer_of(data: bytes) -> dict[str, Any]:
    """What a worker wrote as its answer, of any content. NotAnnounced: it is none."""
    with suppress(ValueError):
        if isinstance(answer := from_json(data), dict):
            return answer
    raise NotAnnounced("its answer is not understood")


def start_sweeping(address_directory: str, every: float = SWEEP_S) -> Callable[[], None]:
    """Sweep the directory of one address now and every ``every`` seconds, on a thread; what ends it, at once.

    Where no thread can be had nothing is swept by this supervisor: it watches all the same.
    """
    closed = threading.Event()

    def work() -> None:
        while not closed.is_set():
            sweep(address_directory)
            closed.wait(every)

    with suppress(RuntimeError):
        threading.Thread(target=work, name="banken-sweeper", daemon=True).start()
    return closed.set


def sweep(address_directory: str) -> int:
    """Remove what dead processes left in the address's directory and those of other users, and cut what living ones
    hold; how many are gone.

    Reads /proc once for each file. Never raises OSError.
    """
    removed = _sweep(address_directory, os.geteuid())
    with suppress(OSError):
        for user in filter(str.isdecimal, os.listdir(address_directory + USERS)):
            removed += _sweep(directory_of_user(address_directory, int(user)), int(user))
    return removed


def _sweep(above: str, owner: int) -> int:
    removed = 0
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        directory = os.open(os.path.join(above, DIRECTORY), flags)
    except OSError:  # no worker has announced anything
        return 0
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in islice(entries, SWEPT_MAX)]
        for name in names:
            # The name holds pid and start time: a dead process's can never be a living one's.
            with suppress(OSError, NotAnnounced):
                match = _name.fullmatch(name)
                if (
                    match
                    and process_start(int(match[1])) != int(match[2])
                    and not _is_held(match, owner, directory)
                ):
                    os.unlink(name, dir_fd=directory)
                    removed += 1
                elif match:
                    _cut(name, owner, directory)
    except OSError:
        pass
    finally:
        os.close(directory)
    return removed


def _is_held(match: re.Match[str], owner: int, directory: int) -> bool:
    """Whether a process has the announcement open that this file belongs to: one of another pid namespace."""
    try:
        with _opened(f"{match[1]}-{match[2]}", owner, directory) as fd:
            return _holder(fd) != 0
    except (OSError, NotAnnounced):
        return False


def _cut(name: str, owner: int, directory: int) -> None:
    """Empty a dump that has grown too long, unless it is being read."""
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if found.st_size > DUMP_MAX:
        with _opened(name, owner, directory) as fd:
            if _locked(fd):
                os.ftruncate(fd, _header_length(os.pread(fd, 64, 0)))


@contextmanager
def _opened(path: str, owner: int, directory: int | None = None) -> Iterator[int]:
    """A worker's file: a regular one of its user, no link; NotAnnounced. ``path`` may be in ``directory``."""
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != owner:
            raise NotAnnounced(f"{path} is not a regular file of user {owner}")
        yield fd
    finally:
        os.close(fd)


def _locked(fd: int) -> bool:
    """Whether this caller now has the file to itself, until it closes it: one dump of a process at a time."""
    with suppress(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the worker's own lock is of the other kind
        return True
    return False


def _header_length(start: bytes) -> int:
    """Bytes of the first line of a worker's file, which stays when a dump is cut off it."""
    line, newline, _ = start.partition(b"\n")
    return len(line) + len(newline)


def _number(start: bytes) -> int:
    """The signal in the header. NotAnnounced: it is not an allowed one."""
    line = start.partition(b"\n")[0].decode("ascii", "replace")
    number = line.removeprefix(f"{HEADER} ")
    if line == number or not number.isdecimal() or int(number) not in allowed_signals() | {0}:
        raise NotAnnounced("its announcement is not understood: another version of banken?")
    return int(number)


def _holder(fd: int) -> int:
    """Pid of the process that holds the file's lock; 0: none."""
    asked = _flock.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = _flock.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def _blocks(pid: int, tid: int, bit: int) -> bool:
    """Whether a thread does not take a signal now: it blocks it, or is in its handler."""
    try:
        return bool(process_facts.signal_sets(pid, tid).get("SigBlk", 0) & bit)
    except OSError:
        return False


def _await_end(
    fd: int, header: int, process: ProcessHandle, ready: list[int], bit: int, deadline: Deadline
) -> None:
    """Wait until the dump has begun, no longer grows, and no thread is in the handler. TooLate: it never began."""
    pid, size, since = process.pid, header, time.monotonic()
    while True:
        time.sleep(LOOK_S)
        now, grown = time.monotonic(), os.fstat(fd).st_size
        if not process.alive:
            raise TooLate("it ended")
        if grown != size:
            size, since = grown, now
        if size == header:
            if not deadline.left():
                pending = process_facts.signal_sets(pid).get("ShdPnd", 0) & bit
                raise TooLate(
                    "it has not taken the signal yet" if pending else "it took the signal and wrote nothing"
                )
        elif (
            size > header + DUMP_MAX
            or not deadline.left()
            or (now - since >= QUIET_S and not any(_blocks(pid, tid, bit) for tid in ready))
        ):
            return
