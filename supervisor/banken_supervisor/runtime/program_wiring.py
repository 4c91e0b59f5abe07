"""Joins the programs with what feeds them: sockets of other users, and those of sd_notify."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from banken_supervisor.actions.callbacks import Callbacks
from banken_supervisor.actions.dispatcher import Dispatcher
from banken_supervisor.engine.checks import RUNNER
from banken_supervisor.engine.driver import Driver
from banken_supervisor.programs.program_watchdogs import ProgramWatchdogs
from banken_supervisor.runtime.notify_handler import NotifyHandler
from banken_supervisor.runtime.user_feeds import UserFeeds
from banken_supervisor.sources.sockets import Sockets


def join_programs(
    programs: ProgramWatchdogs,
    driver: Driver,
    sockets: Sockets,
    post: Callable[[Callable[[], None]], object],
    dispatcher: Dispatcher,
    callbacks: Callbacks,
    fault: Callable[[Exception], None],
) -> NotifyHandler:
    """On the loop's thread, once."""
    engine, manager = driver.engine, programs.manager
    engine.on_purpose.is_stopping = programs.stopping
    engine.processes.is_program = programs.__contains__
    engine.checks.passed = programs.check_passed
    engine.checks.runner = partial(programs.process, RUNNER)
    engine.admission.speaks_for = dispatcher.context.speaks_for
    manager.serve_user = UserFeeds(sockets, post, manager.user_of, dispatcher.context.allow).serve
    manager.orphans.sole_starter = lambda: (
        len(programs.names()) == 1
        and not dispatcher.executor.may_start_processes
        and not callbacks.counts()["threads"]  # what a callback did is not known
    )
    return NotifyHandler(driver, programs, sockets.notify, post, fault, dispatcher.context.allow)
