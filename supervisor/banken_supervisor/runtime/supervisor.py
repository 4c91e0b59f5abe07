"""The public class ``Supervisor``: one address, one loop, its callbacks."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable
from time import monotonic
from types import FrameType
from typing import ClassVar

from banken.errors import AddressInUse
from banken.protocol.limits import check_name, check_seconds
from banken.protocol.messages import CLEAN, DEFAULT_INTERVAL, DEFAULT_TIMEOUT, Declaration, Exit, Feeders
from banken.watchdog import Watchdog
from banken.watchdog.callback_invocation import Callback
from banken_supervisor.actions.action_context import ActionContext
from banken_supervisor.actions.callbacks import TIME_LIMIT, Callbacks
from banken_supervisor.actions.dispatcher import FLUSH_S, Dispatcher
from banken_supervisor.actions.keyed_executor import THREADS_MAX
from banken_supervisor.actions.registry import build
from banken_supervisor.actions.target import ActionReport
from banken_supervisor.coordination.settings import ClusterSettings
from banken_supervisor.engine.policy import Policy, Quotas
from banken_supervisor.engine.rules import Rules
from banken_supervisor.evidence import start_sweeping
from banken_supervisor.journal import JournalSettings, Limits, squeeze
from banken_supervisor.observability.guard import Place
from banken_supervisor.observability.log_queue import LogQueue
from banken_supervisor.processes.peer_credentials import PeerCredentials
from banken_supervisor.processes.service_manager import ServiceManager
from banken_supervisor.programs.program_manager import CLOSE_WAIT
from banken_supervisor.programs.program_watchdogs import ProgramWatchdogs
from banken_supervisor.runtime.address_monitor import AddressMonitor, RemovedSockets, address_event
from banken_supervisor.runtime.in_process_client import InProcessClient, require_room
from banken_supervisor.runtime.listen_addresses import join_cluster, listen_addresses, own_address, remote_access
from banken_supervisor.runtime.lock import AddressLock
from banken_supervisor.runtime.loop import Loop
from banken_supervisor.runtime.mailbox import ActionReported, Declare, Mailbox
from banken_supervisor.runtime.runtime_config import ConfigReload, RuntimeConfig
from banken_supervisor.runtime.signals import EndSignals, Wish, handled
from banken_supervisor.sources.sockets import Sockets

CALLBACK_DRAIN, ACTION_DRAIN, SETTLE, JOURNAL_DRAIN = 2.0, 0.5, 0.2, 1.0
"""Seconds that ``stop`` waits, at most: for callbacks, actions, what these wait for, writing the journal."""

STOP_LIMIT = 5.0
"""Default of ``stop_timeout``, seconds."""


class Supervisor:
    """Owns the timers of all watchdogs at one address.

    ``address``: a directory or ``ipc://DIRECTORY``; None: ``$BANKEN_ADDRESS``, else the default.
    ``listen``: ``tcp://HOST:PORT``, where workers of other hosts come in, too, with the keys in the directory
    ``keys`` (None: the usual one, see ``banken keys``).
    ``defaults``: the declaration of names that are not declared; None refuses such names.
    ``callback_limit``: seconds after which a callback is reported as stuck and its thread replaced.
    ``callback_threads``: number of callbacks that run at once. ``journal``: file that stores incidents and actions;
    None: they are lost when the supervisor ends. ``stop_timeout``: seconds within which ``stop`` ends the
    supervisor, even if callbacks hang. ``quotas``: how much one process may ask for. A config overrides both.
    ``cluster``: of which this supervisor is a member.

    As a context manager it runs in a thread during the block. AddressRefused and AddressInUse are raised by
    ``run``, ``start_in_thread`` and the ``with`` statement; AddressInUse by ``run`` also later, when its lock was
    removed and another supervisor took the address.
    """

    signals: ClassVar[tuple[str, ...]] = ("SIGTERM", "SIGINT", "SIGHUP")
    """signals that ``run`` handles, if the system has them"""

    standalone: ClassVar[bool] = False
    """Whether the process does nothing else: then orphans of its programs come to it, and it collects them."""

    ends_programs = False
    """Whether it stops its programs before it ends, however long they take; else they run on."""
    service_manager: ServiceManager | None = None
    """who is told that it is ready, turns, reloads and stops; None: nobody"""

    def __init__(
        self,
        address: str | os.PathLike[str] | None = None,
        *,
        defaults: Declaration | None = Declaration(),  # noqa: B008  # an immutable tuple
        callback_limit: float = TIME_LIMIT,
        callback_threads: int = THREADS_MAX,
        journal: str | os.PathLike[str] | None = None,
        stop_timeout: float = STOP_LIMIT,
        quotas: Quotas = Quotas(),  # noqa: B008  # an immutable tuple
        listen: Iterable[str] = (),
        keys: str | os.PathLike[str] | None = None,
        cluster: ClusterSettings | None = None,
    ) -> None:
        self.address = own_address(address)
        self._listen, self._keys, self._cluster = listen_addresses(listen), keys, cluster
        check_seconds(callback_limit, "callback_limit")
        self._mailbox = Mailbox()
        self._callback_limit = callback_limit
        self._callbacks = Callbacks(self._mailbox.post, time_limit=callback_limit, threads_max=callback_threads)
        self._rules = Rules(defaults)
        self._client = InProcessClient(self._mailbox, self._callbacks)
        self._thread: threading.Thread | None = None
        self._loop: Loop | None = None
        self._ended = threading.Event()
        self._end_signals, self._running = EndSignals(), False
        self._stop_timeout = check_seconds(stop_timeout, "stop_timeout")
        self._stop_by = 0.0
        """monotonic time; 0: no stop was requested"""
        self._removed_sockets = RemovedSockets()
        self._lost = ""
        """why it stopped acting; empty: it did not"""
        self._journal = None if journal is None else os.fspath(journal)
        self._limits, self._quotas = Limits(), quotas
        self._config_reload: ConfigReload | None = None

    def watchdog(
        self,
        name: str,
        timeout: float = DEFAULT_TIMEOUT,
        interval: float = DEFAULT_INTERVAL,
        *,
        grace: float | None = None,
        callback: Callback | str | None = None,
        feeders: str = Feeders.LATEST,
        progress_timeout: float | None = None,
        exit: str = Exit.UNCLEAN,  # noqa: A002  # as in the config
        clean: Iterable[int | str] = CLEAN,
    ) -> Watchdog:
        """Declare a watchdog as the operator: this overrides the declarations of workers.

        It has the same arguments as ``client.watchdog``; its callback runs in this process, on a separate thread.
        It may be called from any thread, before the supervisor runs and while it runs.
        """
        return self._client.watchdog(
            name, timeout, interval, grace=grace, callback=callback, feeders=feeders,
            progress_timeout=progress_timeout, exit=exit, clean=clean,
        )  # fmt: skip

    def callback(self, name: str, function: Callback | None) -> None:
        """Bind ``function`` to ``name``, for declarations that name a callback; None unbinds it."""
        self._callbacks.name(check_name(name), function)

    def policy(self, name: str, policy: Policy) -> None:
        """Declare a watchdog with a ladder and the other settings of a policy.

        It is expected at once: its grace begins now. The config file does the same for patterns of names. May be
        called while the supervisor runs. Refused (a ValueError): a step is invalid.
        """
        # Build each step here, to find errors, and so that the loop does not import the modules of an action.
        own = {} if self._config_reload is None else self._config_reload.current.actions
        for step in (*policy.ladder.steps, *policy.ladder.on_give_up):
            build(step.do, dict(step.options), own)
        require_room(self._mailbox.try_post(Declare(check_name(name), policy)))

    def configure(self, load: Callable[[], RuntimeConfig]) -> None:
        """Use the config that ``load`` returns, now and at each reload (SIGHUP, ``banken reload``).

        Call it before the supervisor runs. An exception of ``load`` is raised here; at a reload it is published as
        an event, and the old config stays.
        """
        self._config_reload = ConfigReload(load, self._mailbox.post)
        retention = self._config_reload.current.config.settings.retention
        self._limits = Limits(events_age=retention.age, incidents_age=retention.age, size_max=retention.size)

    def reload(self) -> None:
        """Read the config file and the rights of the keys again, on a background thread. Returns at once; an event
        reports the result.

        Without a config file (``configure``) and without ``listen`` nothing happens.
        """
        reloads = None if self._loop is None else self._loop.config_reload
        if reloads is not None:  # on the loop's thread: a signal handler must wait for no lock
            self._mailbox.post(reloads.ask)

    def run(self) -> None:
        """Supervise until ``stop``, SIGTERM or SIGINT. A second signal ends the process at once (signals.py).

        If it already runs in a thread, this waits for the thread.
        """
        with self._signals_handled():
            if self._thread is not None:
                while self._thread.is_alive():
                    self._thread.join(0.5)
                return
            self._open()
            assert self._loop is not None
            orphans = self._loop.programs.manager.orphans
            with orphans.adopting() if self.standalone else contextlib.nullcontext():
                self._work()
            if self._lost:
                raise AddressInUse(self._lost)

    def start_in_thread(self, daemon: bool = True) -> None:
        """Supervise in a thread of this process; a second call while it runs does nothing."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._open()
        thread = threading.Thread(target=self._work, name="banken-supervisor", daemon=daemon)
        try:
            thread.start()
        except RuntimeError:  # the system cannot start a thread
            self._resources.close()
            raise
        self._thread = thread

    def stop(self, timeout: float | None = None) -> None:
        """Stop: takes at most ``timeout`` seconds (default: ``stop_timeout``), even while callbacks hang."""
        if self._loop is None:
            return
        seconds = self._stop_limit() if timeout is None else timeout
        self._request_stop(seconds)
        if self._thread is not threading.current_thread():
            self._ended.wait(seconds)

    def __enter__(self) -> Supervisor:
        self.start_in_thread()
        return self

    def __exit__(self, *fault: object) -> None:
        self.stop()

    def _open(self) -> None:
        """Take the address and bind it, in the caller's thread, so that the caller gets the errors.

        After an error everything is released, and it may be called again.
        """
        if self._loop is not None:
            raise RuntimeError("this supervisor has already run; create another one")
        with contextlib.ExitStack() as resources:
            resources.callback(self._forget_loop)
            self._loop = self._make(resources)
            self._opened()
            self._resources = resources.pop_all()

    def _opened(self) -> None:
        """For subclasses: the address is bound. An exception here releases it."""

    def _forget_loop(self) -> None:
        """Called if the start has failed."""
        if not self._running:
            self._loop = None

    def _make(self, resources: contextlib.ExitStack) -> Loop:
        """Create the loop and its parts; ``resources`` closes them. Closing twice is allowed."""
        directory = self.address.directory
        assert directory is not None
        log_queue = self._log_queue = LogQueue()
        resources.callback(log_queue.close)
        lock = AddressLock(directory)
        resources.callback(lock.release)
        remote = remote_access(self._keys, resources) if self._listen else None
        peers = PeerCredentials()
        sockets = self._sockets = Sockets(self.address, self._mailbox.fileno(), peers.connected)
        resources.callback(sockets.close)
        resources.callback(start_sweeping(directory))
        state = None if (path := self._journal) is None else os.path.dirname(path)
        programs = ProgramWatchdogs(directory, self._mailbox.post, state)
        resources.callback(programs.close, 0.0)
        context = ActionContext(directory, self._callbacks.call, self._restart, peers)
        context.last_output = programs.last_output
        dispatcher = Dispatcher(
            context, self._acted, programs.__contains__, programs.process, self._mailbox.post, self._callback_limit
        )
        loop = Loop(
            sockets, self._mailbox, self._callbacks, log_queue, self._rules, dispatcher, programs, resources,
            None if path is None else JournalSettings(path, self._limits, self.standalone),
        )  # fmt: skip
        loop.driver.engine.set_quotas(self._quotas)
        fault = loop.fault_elsewhere(Place.ADDRESS)
        monitor = AddressMonitor(lock, self._restore_address, self._address_told, self._address_lost, fault)
        resources.callback(monitor.close)
        loop.outer.manager = self.service_manager
        loop.ends_programs, loop.stop_limit = self.ends_programs, self._stop_limit
        if remote is not None:
            remote.open(self._listen, self.address, sockets, loop, self._config_reload)
        if self._config_reload is not None:
            loop.bind_config(self._config_reload)
        join_cluster(self._cluster, loop, remote, self._listen)
        return loop

    def _work(self) -> None:
        self._running = True
        try:
            with self._resources:
                assert self._loop is not None
                try:
                    self._loop.run()
                finally:
                    self._shut_down(self._loop)
        finally:
            self._mailbox.close()
            self._ended.set()

    def _shut_down(self, loop: Loop) -> None:
        """Stop the parts, in this order, and record their results, within the remaining time.

        Each part gets a share of the time, so that one that hangs leaves time for the others; the journal is last.
        """
        until = self._stop_by or monotonic() + self._stop_limit()

        def share(part: float, most: float) -> float:
            return min(most, part * max(0.0, until - monotonic()))

        if loop.cluster is not None:
            loop.messages.take_reports()  # what was dropped is due again, for whoever leads next
            loop.cluster.close(share(0.3, 1.0))
        loop.maintenance.close()
        loop.programs.close(share(0.25, CLOSE_WAIT))
        self._callbacks.close(share(0.5, CALLBACK_DRAIN))
        if loop.outbox is not None:
            loop.outbox.settle(share(0.1, SETTLE))
        loop.dispatcher.close(share(0.3, ACTION_DRAIN), share(0.5, FLUSH_S))
        if self._config_reload is not None:
            self._config_reload.current.close(share(0.3, ACTION_DRAIN))
            self._callbacks.close(share(0.1, ACTION_DRAIN))  # what was ended now is told
        loop.messages.finish()
        if loop.outbox is not None:
            loop.outbox.close(share(0.5, JOURNAL_DRAIN))

    def _stop_limit(self) -> float:
        """Seconds; of the config, if there is one."""
        reloading = self._config_reload
        return self._stop_timeout if reloading is None else reloading.current.config.settings.stop_timeout

    def _request_stop(self, seconds: float) -> None:
        if not self._stop_by and not self.ends_programs:
            self._stop_by = monotonic() + seconds
        self._mailbox.post(self._end)

    def _end(self) -> None:
        """Called on the loop's thread. A signal may have come before there was a loop."""
        assert self._loop is not None
        self._loop.stop()

    def _signals_handled(self) -> contextlib.AbstractContextManager[None]:
        # What was ignored when we were started (nohup) stays ignored; only a SIGHUP that reads a config is more.
        return handled(self.signals, self._on_signal, ("SIGHUP",) if self._reloads else ())

    @property
    def _reloads(self) -> bool:
        """Whether there is something to reload: a config, or keys."""
        return self._config_reload is not None or bool(self._listen)

    def _restart(self, name: str) -> None:
        """For actions: make the loop restart a program."""

        def restart() -> None:
            assert self._loop is not None
            driver, programs = self._loop.driver, self._loop.programs
            if name in programs and programs.may_restart(name):
                programs.command("restart", name, driver.engine, driver.now, driver.out, "restarted by its ladder")

        self._mailbox.post(restart)

    def _acted(self, report: ActionReport) -> None:
        """Called on the thread of an action: evidence is compressed here, not by the loop."""
        found = report.data.get("evidence")
        self._mailbox.post(ActionReported(report, squeeze(found) if isinstance(found, dict) else None))

    # -- on the thread that checks the address ------------------------------------------------------

    def _restore_address(self) -> None:
        """Make sockets and run records again that were removed."""
        loop, sockets = self._loop, self._sockets
        if loop is None:
            return
        loop.programs.manager.write_records_again()
        if not (missing := sockets.missing()):
            return

        def bind() -> None:
            for text in self._removed_sockets.bind_again(sockets, missing, self.address.directory):
                loop.publish(address_event(text))

        self._mailbox.post(bind)

    def _address_told(self, text: str) -> None:
        self._mailbox.post(address_event(text))

    def _address_lost(self, text: str) -> None:
        """Another supervisor holds the address: act no more, and leave it the programs."""

        def end() -> None:
            assert self._loop is not None
            self._lost = text
            self._loop.publish(address_event(text))
            self._loop.give_way()

        self._mailbox.post(end)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._reloads and number == getattr(signal, "SIGHUP", None):
            self.reload()
            return
        if self._end_signals.wish(number, monotonic()) is Wish.END_AT_ONCE:
            os._exit(128 + number)
        self._request_stop(self._stop_limit())
