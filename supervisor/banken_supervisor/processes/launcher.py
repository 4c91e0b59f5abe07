"""A small script that becomes a command once its starter (launch.py) has set the attributes of its process.

Arguments: the number of a socket to its starter, "UID:GID:GROUPS" or nothing, "OLD:NEW" or nothing (the number of a
descriptor, and that under which the command has it), "reset" or nothing (signals are blocked or ignored here, which
the command is not to inherit), and the command. It writes "r" when it is ready, and waits for a byte. What comes
after that is the error number of what failed; the socket's end alone means that the command runs. It imports as
little as it can: each start waits for it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself takes as long as all the rest
import fcntl
import os
import sys
from collections.abc import Mapping, Sequence

OUT_OF_THE_WAY = 64
"""From here on descriptors are looked for that are no number which a command is given."""


def main(number: str, user: str, descriptors: str, reset: str, *command: str) -> None:
    """Become the command, or say why not."""
    socket = int(number)
    os.set_inheritable(socket, False)
    if descriptors:
        old, new = map(int, descriptors.split(":"))
        if socket == new:
            socket = fcntl.fcntl(socket, fcntl.F_DUPFD_CLOEXEC, max(OUT_OF_THE_WAY, new + 1))
        if old != new:
            os.dup2(old, new, inheritable=True)
            os.close(old)
    # As this process got it: Python itself may have set LC_CTYPE since.
    with open("/proc/self/environ", "rb") as file:
        variables = dict(each.partition(b"=")[::2] for each in file.read().split(b"\0") if each)
    if b"WATCHDOG_USEC" in variables:  # sd_watchdog_enabled(3): meant for this process, and not for its children
        variables[b"WATCHDOG_PID"] = b"%d" % os.getpid()
    for ignored in (_signal.SIGPIPE, _signal.SIGXFSZ):  # by Python; a command expects them as they were
        _signal.signal(ignored, _signal.SIG_DFL)
    if reset:
        _reset_signals()
    os.write(socket, b"r")
    if not os.read(socket, 1):
        os._exit(127)  # its starter has ended, or cannot set an attribute
    try:
        if user:
            _become(user.split(":"))
        _run(command, variables)
    except OSError as fault:
        os.write(socket, b"%d" % (fault.errno or 0))
    os._exit(127)


def _reset_signals() -> None:
    """Have each signal do what it does by default, and at once."""
    for number in _signal.valid_signals():
        if _signal.getsignal(number) == _signal.SIG_IGN:
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def _run(command: tuple[str, ...], variables: Mapping[bytes, bytes]) -> None:
    """Become the first that can be run of the files that may be meant, as execvp looks for them. OSError.

    Not ``os.execvpe``: it imports something, which another user may not be able to read.
    """
    name = os.fsencode(command[0])
    folders = [b""] if b"/" in name else variables.get(b"PATH", os.fsencode(os.defpath)).split(b":")
    why: OSError | None = None
    for folder in folders:
        try:
            os.execve(os.path.join(folder, name), command, variables)  # noqa: S606
        except OSError as fault:
            if why is None or isinstance(why, FileNotFoundError | NotADirectoryError):
                why = fault
    assert why is not None
    raise why


def _become(ids: Sequence[str]) -> None:
    uid, gid, groups = ids
    os.setgroups([int(each) for each in groups.split(",") if each])
    os.setregid(int(gid), int(gid))
    os.setreuid(int(uid), int(uid))


if __name__ == "__main__":
    main(*sys.argv[1:])
