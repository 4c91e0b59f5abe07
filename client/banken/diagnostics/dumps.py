"""Announced dumps: how a supervisor on this host learns where this process hangs.

    from banken import client

    client.enable_dumps()

Two ways, for two kinds of hang; both are announced in ``DIRECTORY`` under the address, by pid and start time:

* A file that ``faulthandler`` writes all threads' stacks into, in the signal handler itself, in C: it works while a
  C call holds the interpreter lock. The supervisor sends the signal only while that file exists, is locked by this
  very process, and the kernel says that the signal is caught: a process without a handler would die of it.
* A Unix socket, and a daemon thread that answers with the stacks of all asyncio tasks and the names of all threads
  (introspection.py). It needs the interpreter lock, which is free when a task waits for something that never comes;
  the threads' own stacks then show only the selector.

The program may take the signal for itself after that, or reset it, as servers do in a new worker. So before each
answer and every 30 s the thread looks whose handler the kernel has. A signal that was reset is ours again; one that
was taken is withdrawn, and the supervisor, which asks before it sends a signal, does not send it.

The file is locked with ``lockf``: such a lock belongs to one process, is not inherited by a forked child, and ends
with the process or with exec. A forked child announces itself; a program that was exec'd does not appear.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import faulthandler
import json
import logging
import os
import select
import signal as signals
import socket
import stat
import threading

from banken.address import SUN_PATH_MAX, main_directory, resolve
from banken.diagnostics.introspection import introspect
from banken.errors import Refused
from banken.process_identity import process_start
from banken.threads import NO_THREAD, start_daemon

DIRECTORY = "dumps"
"""Where the announcements are, below the address's directory; mode 0700."""

HEADER = "banken-dumps 1"
"""First line of a file, followed by the number of the signal (0: none)."""

SOCKET_SUFFIX = ".ask"
TEMPORARY_PREFIX = ".new-"

DEFAULT_OFFSET = 5
"""The default signal is SIGRTMIN + 5: servers use SIGUSR1 and SIGUSR2 for their own ends, and some SIGRTMIN."""

KEEP_S = 30.0
"""Seconds between two checks that the announcement is still there, and the signal still ours."""

ANSWER_S = 2.0
"""Seconds that the supervisor may take to read an answer."""

log = logging.getLogger("banken")


def enable_dumps(
    signal: int | None = None, *, address: str | os.PathLike[str] | None = None, ask: bool = True
) -> bool:
    """Let the supervisor at ``address`` (None: the default) see this process's stacks; whether it now can.

    ``signal``: a real-time signal (None: SIGRTMIN + 5), SIGUSR1 or SIGUSR2, for this purpose alone; Refused for any
    other. One that has a Python handler already is left to it, and only the thread answers; one that the program
    takes later is withdrawn. ``ask=False``: no thread, and so no asyncio tasks, and no look at who took the signal.

    Call it after daemonizing (what closes all descriptors ends it), and again in a spawned process; a forked one
    has it. Where it cannot work (tcp, another system, a directory that is not ours) a warning is logged, no more.
    """
    number = default_signal() if signal is None else signal
    if signal is not None and (isinstance(signal, bool) or signal not in allowed_signals()):
        raise Refused(f"signal={signal!r} is not allowed: SIGUSR1, SIGUSR2 or a real-time signal")
    directory = resolve(address).directory
    if directory is None:
        reason = "the supervisor is reached by tcp; it can look only at processes of its own host"
    elif not hasattr(faulthandler, "register") or not hasattr(os, "register_at_fork") or not process_start():
        reason = "this system has no faulthandler.register or no /proc"
    else:
        try:
            with _lock:
                _announce(os.path.join(directory, DIRECTORY), int(number), ask)
            return True
        except OSError as fault:
            reason = f"{fault.filename or directory}: {fault.strerror or fault}"
    log.warning("stacks cannot be asked for here: %s", reason)
    return False


def disable_dumps() -> None:
    """Take the announcement back. The signal is ignored from then on, for one may be under way."""
    global _current
    with _lock:
        old, _current = _current, None
        if old is not None:
            old.remove()  # first the name, then the handler
            old.close()


def default_signal() -> int:
    """The signal that asks for a dump where no other was chosen; 0: this system has none."""
    if hasattr(signals, "SIGRTMIN"):
        return int(signals.SIGRTMIN) + DEFAULT_OFFSET
    return int(getattr(signals, "SIGUSR2", 0))


def allowed_signals() -> frozenset[int]:
    """The signals that may ask for a dump: those that the system itself never sends."""
    allowed = {getattr(signals, name, 0) for name in ("SIGUSR1", "SIGUSR2")} - {0}
    if hasattr(signals, "SIGRTMIN"):
        allowed.update(range(signals.SIGRTMIN, signals.SIGRTMAX + 1))
    return frozenset(map(int, allowed))


def socket_path(directory: int, path: str) -> str:
    """``path``, or where it is too long for a Unix socket, the same through the open directory."""
    if len(os.fsencode(path)) <= SUN_PATH_MAX:
        return path
    return f"/proc/self/fd/{directory}/{os.path.basename(path)}"


class _Announcement:
    """What this process has announced: a locked file, a registered signal, a thread behind a socket."""

    def __init__(self, directory: str, number: int, ask: bool) -> None:
        self.wanted = directory, number, ask
        self.number = 0
        self.pid = os.getpid()
        self.path = os.path.join(directory, f"{self.pid}-{process_start()}")
        self._server: socket.socket | None = None
        self._held: list[tuple[int, os.stat_result]] = []
        """the descriptors of the file and the socket, and what they were opened for"""

    def open(self) -> None:
        """Announce; OSError when that fails, with nothing left behind."""
        directory, number, ask = self.wanted
        if main_directory(os.path.dirname(directory)) is None:  # else the supervisor has made both
            _prepare(os.path.dirname(directory))
        _prepare(directory)
        self.number = 0 if _taken(number) else number
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        new = os.path.join(directory, TEMPORARY_PREFIX + os.path.basename(self.path))
        file = os.open(new, flags, 0o600)
        try:
            self._held.append((file, os.fstat(file)))
            self._fill(file)
            if ask:
                self._listen(directory)
            os.rename(new, self.path)  # only now: a supervisor that sees the file may send the signal
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(new)
            self.close()
            raise

    def _fill(self, file: int) -> None:
        import fcntl  # not on Windows

        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(file, f"{HEADER} {self.number}\n".encode())
        if self.number:
            main = threading.current_thread() is threading.main_thread()
            if main and signals.getsignal(self.number) == signals.SIG_DFL:  # in a child, ours is at work already
                # What faulthandler gives back at the interpreter's end: a signal under way then is harmless.
                # A program that is exec'd gets the default, for the handler stands between.
                signals.signal(self.number, signals.SIG_IGN)
            _register(self.number, file)

    def _listen(self, directory: str) -> None:
        path = self.path + SOCKET_SUFFIX
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            server = socket.create_server(socket_path(opened, path), family=socket.AF_UNIX, backlog=4)
        finally:
            os.close(opened)
        self._server = server
        self._held.append((server.fileno(), os.fstat(server.fileno())))
        if start_daemon(self._serve, "banken-dumps", server) is None:
            raise OSError(errno.EAGAIN, NO_THREAD)

    def _serve(self, server: socket.socket) -> None:
        poll = select.poll()
        poll.register(server.fileno(), select.POLLIN)
        while True:
            ready = poll.poll(KEEP_S * 1000)
            if _current is not self:
                return
            if not self._intact():
                log.warning("the announcement for dumps was taken away; it is made again")
                with _lock:
                    if _current is self:
                        try:
                            _announce(*self.wanted)
                        except OSError as fault:
                            log.warning("stacks can no longer be asked for: %s", fault)
                return
            with _lock:
                if _current is self:
                    self.check_signal()
            if ready:
                _answer(server)

    def _intact(self) -> bool:
        """Whether file and socket are still ours: a directory may be swept, and descriptors closed and reused."""
        try:
            found = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        return os.path.samestat(found, self._held[0][1]) and all(_is(*each) for each in self._held)

    def check_signal(self) -> None:
        """Register a signal anew that was reset, and withdraw one that the program took."""
        number = self.number
        handler = _handler_of(number) if number else None
        if handler is None or handler == _ours:
            return
        file = self._held[0][0]
        if handler in _NO_HANDLER:
            faulthandler.unregister(number)  # else it takes its own handler to be there
            _register(number, file)
            return
        self.number = 0
        os.ftruncate(file, 0)
        os.write(file, f"{HEADER} 0\n".encode())
        log.warning("the program handles signal %d itself now: dumps are no longer asked for by it", number)

    def close(self) -> None:
        """Close the descriptors, unless their numbers are in other use by now."""
        if self.number:
            _unregister(self.number)
        for each in self._held:
            if _is(*each):
                os.close(each[0])
        if self._server is not None:
            self._server.detach()

    def remove(self) -> None:
        """Delete the files. A child that was forked without Python's hooks does not delete its parent's."""
        if os.getpid() == self.pid:
            for path in (self.path, self.path + SOCKET_SUFFIX):
                with contextlib.suppress(OSError):
                    os.unlink(path)


def _prepare(directory: str) -> None:
    """Make a directory for its owner only; OSError for one that is not, or that others may enter."""
    os.makedirs(os.path.dirname(directory), exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(13, "has to be a directory of your own with mode 0700", directory)


def _announce(directory: str, number: int, ask: bool) -> None:
    """Replace what is announced. OSError: nothing is announced any more."""
    global _current
    old = _current
    if old and old.wanted == (directory, number, ask) and old.pid == os.getpid() and old._intact():
        return
    disable_dumps()
    new = _current = _Announcement(directory, number, ask)
    try:
        new.open()  # its thread ends when it is not the current one
    except BaseException:
        _current = None
        raise


def _forked() -> None:
    """In a child: the parent's announcement is the parent's; make one of its own. Never raises."""
    global _lock, _current
    _lock = threading.RLock()
    old, _current = _current, None
    if old is None:
        return
    try:
        # Registered anew at once, and not unregistered first: a signal to the group meets a handler throughout.
        number, old.number = old.number, 0
        old.close()
        _announce(*old.wanted)
    except Exception as fault:  # noqa: BLE001  # a fork must not fail for it
        if number:
            _unregister(number)
        log.warning("stacks of pid %d cannot be asked for: %s", os.getpid(), fault)


def _answer(server: socket.socket) -> None:
    """Send this process's threads and tasks to the supervisor that connected."""
    try:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(ANSWER_S)
            connection.sendall(json.dumps(introspect()).encode())
    except Exception as fault:  # noqa: BLE001  # whatever it is, the worker goes on
        log.warning("an answer about stacks could not be given: %r", fault)


def _taken(number: int) -> bool:
    """Whether a signal has a handler that is not ours."""
    handler = _handler_of(number)
    if handler is None:  # faulthandler's own does not appear there
        taken = signals.getsignal(number) not in (signals.SIG_DFL, signals.SIG_IGN)
    else:
        taken = handler not in (*_NO_HANDLER, _ours)
    if taken:
        log.warning("signal %d has a handler already: it is left to it; choose another for dumps", number)
    return taken


def _register(number: int, file: int) -> None:
    global _ours
    faulthandler.register(number, file=file, all_threads=True, chain=False)
    _ours = _handler_of(number)


def _unregister(number: int) -> None:
    """Give the signal back, unless the program took it: that would put back what was there before."""
    if _handler_of(number) in (None, *_NO_HANDLER, _ours):
        faulthandler.unregister(number)


_NO_HANDLER = (0, 1)
"""SIG_DFL and SIG_IGN."""


def _handler_of(number: int) -> int | None:
    """The address of what the kernel calls at a signal, 0 or 1 (SIG_DFL, SIG_IGN) for nothing; None: not known.

    Python knows only of the handlers that were set through it, and of faulthandler's not even that.
    """
    try:
        import ctypes

        # struct sigaction begins with the handler on Linux; the whole is 152 bytes and less everywhere.
        action = (ctypes.c_size_t * 64)()
        if ctypes.CDLL(None).sigaction(number, None, ctypes.byref(action)) == 0:
            return int(action[0])
    except (ImportError, OSError, AttributeError):
        pass
    return None


def _is(fd: int, known: os.stat_result) -> bool:
    """Whether an open descriptor is still that file or socket: a program may close it and reuse its number."""
    try:
        return os.path.samestat(os.fstat(fd), known)
    except OSError:
        return False


_ours: int | None = None
"""the address of faulthandler's handler, known since it was first registered; None: not known"""

_lock = threading.RLock()
_current: _Announcement | None = None

if hasattr(os, "register_at_fork"):
    atexit.register(disable_dumps)
    os.register_at_fork(after_in_child=_forked)
