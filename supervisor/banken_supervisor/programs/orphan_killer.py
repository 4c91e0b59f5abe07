"""A small process that outlives its supervisor by a moment, and kills the programs that are to die with it.

It runs as a script of its own, with the standard library and nothing else, so it has a small copy of what
handle.py does. Its input names the runs to watch, a line each: "+RUN" before the spawn, "=RUN PID START" after it,
"-RUN" at the end. It waits for the end of its parent by a pidfd; the end of the input means the same. Then it
kills the group and session of every named process, its descendants, and every process that carries the mark of one
of the runs: so it also finds one that overwrote its environment, and one that was started at the moment of the
crash.

Why not PR_SET_PDEATHSIG: it fires when the *thread* that forked ends, not the process; it reaches the child alone
and not its group; a program that changes its user loses it; and to set it, Python code would have to run between
fork and exec, which in a process with threads may hang.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

SCANS_S = (0.0, 0.02, 0.1, 0.3, 0.6)
"""When to look after the parent's end, seconds. Several times: a child that was just being made shows its mark only
from its exec on."""


Held = tuple[int, int]
"""The process of one run: its pid, and a pidfd that holds it."""

UNKNOWN: Held = 0, -1


def hold(pid: int, start: int) -> Held:
    """This process, if the pid still means it."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return UNKNOWN
    if started(pid) == start:
        return pid, pidfd
    os.close(pidfd)
    return UNKNOWN


def kill(pid: int, pidfd: int) -> None:
    """SIGKILL for its group. It is stopped first: until that is done it cannot end and leave its number."""
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
        os.killpg(pid, signal.SIGKILL)
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        pass  # gone, or another user's by now


def send(pidfd: int, number: int) -> None:
    """Send a signal, unless the process is gone or another user's."""
    with contextlib.suppress(OSError):
        signal.pidfd_send_signal(pidfd, number)


def descendants(runs: dict[str, Held]) -> list[int]:
    """A pidfd of each descendant of these, which are stopped: when they have ended, nothing says that it was one.
    What carries the mark of another run belongs to another supervisor, and so do its own descendants."""
    for pid, pidfd in runs.values():
        if pid:
            send(pidfd, signal.SIGSTOP)
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            children.setdefault(parent_of(int(entry)), []).append(int(entry))
    found: list[int] = []
    family = {pid for pid, _ in runs.values() if pid}
    wanted = [child for pid in family for child in children.get(pid, ())]
    for pid in wanted:  # it grows
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            continue
        # Another process may have got its pid by now. An orphan has come to one of the family.
        if parent_of(pid) not in family or is_anothers(pid, runs):
            os.close(pidfd)
            continue
        found.append(pidfd)
        family.add(pid)
        wanted += children.get(pid, ())
    return found


def parent_of(pid: int) -> int:
    """The pid of its parent; 0: it is gone."""
    try:
        return int(stat(pid)[1])
    except OSError:
        return 0


def is_anothers(pid: int, runs: dict[str, Held]) -> bool:
    """Whether it carries the mark of another run, or one that says that it belongs to none."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            marks = [each for each in file.read().split(b"\0") if each.startswith(b"BANKEN_RUN=")]
    except OSError:
        return False
    ours = {f"BANKEN_RUN={run}".encode() for run in runs}
    return bool(marks) and ours.isdisjoint(each.partition(b"/")[0] for each in marks)


def main() -> None:
    """Watch until the parent ends, then kill."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends with its parent, and not before
    runs: dict[str, Held] = {}
    listen(int(sys.argv[1]), runs)
    began = time.monotonic()
    family = descendants(runs)
    for pid, pidfd in runs.values():
        if pid:
            kill(pid, pidfd)
    for pidfd in family:
        send(pidfd, signal.SIGKILL)
        os.close(pidfd)
    sessions = {pid for pid, _ in runs.values() if pid}
    for at in SCANS_S if runs else ():
        time.sleep(max(0.0, began + at - time.monotonic()))
        kill_marked(runs, sessions)


def listen(parent: int, runs: dict[str, Held]) -> None:
    """Keep ``runs`` as the input says, until the parent has ended."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    pidfd = -1
    try:
        pidfd = os.pidfd_open(parent)
        poll.register(pidfd, select.POLLIN)
    except OSError:
        pass  # gone already: the input has ended, too
    text = b""
    over = False
    while not over:
        over = pidfd in [fd for fd, _ in poll.poll()]
        # All that was written before the parent's end is in the pipe.
        while select.select([0], [], [], 0)[0]:
            some = os.read(0, 65536)
            if not some:
                over = True
                break
            text += some
        *lines, text = text.split(b"\n")
        for line in lines:
            apply(line.decode("ascii"), runs)


def apply(line: str, runs: dict[str, Held]) -> None:
    """Apply one line of the input."""
    mark, *rest = line[1:].split()
    if line[0] == "+":
        runs[mark] = UNKNOWN
    elif line[0] == "=" and mark in runs:
        runs[mark] = hold(int(rest[0]), int(rest[1]))
    elif line[0] == "-" and mark in runs:
        pid, pidfd = runs.pop(mark)
        if pid:
            os.close(pidfd)


def started(pid: int) -> int:
    """When a process started, in ticks since boot; 0: it is gone."""
    try:
        return int(stat(pid)[19])
    except OSError:
        return 0


def stat(pid: int) -> list[bytes]:
    """What the kernel says of a process, behind its name: state, parent, group, session ... OSError: it is gone."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()


def kill_marked(runs: dict[str, Held], sessions: set[int]) -> None:
    """SIGKILL for every process that carries one of these marks, or is in one of these sessions, and in those that
    one with a mark has made: its supervisor may have died before it could say which process that is."""
    marks = {f"BANKEN_RUN={run}".encode() for run in runs}
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            fd = os.pidfd_open(int(entry))
        except OSError:
            continue
        try:
            session = int(stat(int(entry))[3])
            if session in sessions:
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            with open(f"/proc/{entry}/environ", "rb") as file:
                # Of "RUN/…", which commands of a check bear, what stands before counts.
                if not marks.isdisjoint(each.partition(b"/")[0] for each in file.read().split(b"\0")):
                    if session == int(entry):
                        sessions.add(session)
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
        except OSError:
            pass  # gone, or not ours
        finally:
            os.close(fd)


if __name__ == "__main__":
    main()
