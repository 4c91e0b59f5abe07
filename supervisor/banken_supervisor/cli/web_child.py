"""``banken run --web``: a ``banken web`` beside the supervisor, as a process of its own.

It cannot harm the supervisor: a thread that sleeps waits for its end and starts another one, more and more slowly.
It ends with the supervisor, however that ends, for then nobody holds the other end of its stdin.
"""

from __future__ import annotations

import contextlib
import logging
import resource
import subprocess
import threading
from time import monotonic

from banken_supervisor.engine.policy import ProcessAttributes
from banken_supervisor.processes import launch, own_modules

BACKOFF_S = (0.5, 30.0)
"""Seconds before it is started again, doubled each time, and the most of it."""

STEADY_S = 60.0
"""One that ran for so long begins again with the shortest wait."""

END_S = 2.0
"""Seconds it has to end in order."""

log = logging.getLogger("banken.web")


class WebChild:
    """Keeps ``banken web`` with these arguments running from ``start`` until ``stop``."""

    def __init__(self, arguments: list[str]) -> None:
        self._command = own_modules.command("banken_supervisor", "web", "--until-eof", *arguments)
        self._ending = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="banken-web", daemon=True)

    def start(self) -> None:
        """Start it; what becomes of it is told in the log."""
        self._thread.start()

    def stop(self) -> None:
        """End it, in at most ``END_S`` seconds."""
        self._ending.set()
        child = self._child
        if child is not None:
            assert child.stdin is not None
            with contextlib.suppress(OSError):
                child.stdin.close()
        if self._thread.ident is not None:
            self._thread.join(END_S)
        if child is not None and self._thread.is_alive():
            with contextlib.suppress(OSError):
                child.kill()

    def _keep(self) -> None:
        wait = BACKOFF_S[0]
        while not self._ending.is_set():
            began = monotonic()
            try:
                # In a session of its own: Ctrl-C in a terminal is for the supervisor, which then ends this.
                # Its priority is a login's: it must not take the processor from us.
                limit = ("nofile", *resource.getrlimit(resource.RLIMIT_NOFILE))
                self._child = child = launch.start(
                    self._command,
                    ProcessAttributes(rlimits=(limit,)),
                    stdin=subprocess.PIPE,
                    stdout=2,
                    start_new_session=True,
                    env=own_modules.environment(),
                )
            except Exception as fault:  # noqa: BLE001  # whatever it is, it is tried again
                log.error("the web process cannot be started: %s", fault)
            else:
                if self._ending.is_set():  # `stop` came before it could see this one
                    child.communicate()
                status = child.wait()
                if self._ending.is_set():
                    return
                how = f"exit status {status}" if status >= 0 else f"ended by signal {-status}"
                log.warning("the web process ended (%s); it is started again in %g s", how, wait)
            if monotonic() - began > STEADY_S:
                wait = BACKOFF_S[0]
            self._ending.wait(wait)
            wait = min(2 * wait, BACKOFF_S[1])
