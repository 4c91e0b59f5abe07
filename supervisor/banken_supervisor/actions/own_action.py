"""An action of the user's own in a process of its own: what happens here, and there.

``OwnActions`` sends what the run is about, answers what the action asks of its context, and takes the outcome. What
goes there is pickled; what comes from there, where anything may run, is msgpack and never code.
"""

from __future__ import annotations

import os
import pickle
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import msgpack

from banken.protocol.incidents import Cause, Incident
from banken.protocol.messages import ProcessIdentity
from banken_supervisor import evidence
from banken_supervisor.actions.action_context import ActionContext
from banken_supervisor.actions.base import Action, ActionTarget, Outcome
from banken_supervisor.actions.callback_process import CallbackFailed
from banken_supervisor.actions.callback_processes import CallbackProcesses
from banken_supervisor.actions.target import CUT, IncidentEnd, StopReason
from banken_supervisor.processes.callback_runner import Talk
from banken_supervisor.processes.namespaces import pid_here
from banken_supervisor.processes.process_group import ProcessGroup
from banken_supervisor.processes.process_handles import ProcessHandles
from banken_supervisor.text import sanitize

HIDDEN = "hidden is a tuple of texts"

TEXT_MAX = 16_384
"""Characters of an outcome's text that are sent."""


class Made(NamedTuple):
    """How an action of the user's own was made."""

    target: str
    """``module:Class``"""
    options: dict[str, Any]


def made_of(action: Action) -> Made | None:
    """How it was made; None: it is banken's own."""
    return cast("Made | None", action.__dict__.get("_made"))


def note_made(action: Action, options: dict[str, Any]) -> None:
    """Remember how an action of the user's own was made."""
    found = type(action)
    action.__dict__["_made"] = Made(f"{found.__module__}:{found.__qualname__}", options)


def redacted(action: Action, text: str, data: Any) -> tuple[str, Any]:
    """What an action said, and its data (plain), without what it wants hidden. Where it does not say what that is,
    for its ``hidden`` raises, that is told instead. What this returns may be cut: half a secret would not be found.
    """
    try:
        hidden: Any = action.hidden
        if not isinstance(hidden, tuple) or not all(isinstance(each, str) for each in hidden):
            raise TypeError(HIDDEN)
    except BaseException as fault:  # noqa: BLE001  # SystemExit and KeyboardInterrupt too
        why = sanitize.line(" ".join("".join(traceback.format_exception_only(fault)).split()))
        return f"what it said is not shown, for its secrets are not known: `hidden` raised {why}", (
            {CUT: True} if isinstance(data, dict) and data.get(CUT) is True else {}
        )
    return sanitize.redact(text, hidden), sanitize.redact(data, hidden)


def raised(fault: BaseException, action: Action) -> tuple[str, dict[str, Any]]:
    """What an action raised: one line with its type and message, and as its output the traceback."""
    message = "".join(traceback.format_exception_only(fault))
    text, data = redacted(action, message, {"output": "".join(traceback.format_exception(fault))})
    return sanitize.line(" ".join(text.split())), {
        key: sanitize.text(each, keep_end=True) for key, each in data.items()
    }


# -- here -------------------------------------------------------------------------------------------------------


class OwnActions:
    """Runs actions in these processes."""

    def __init__(self, processes: CallbackProcesses) -> None:
        self._processes = processes

    def run(self, made: Made, target: ActionTarget, context: ActionContext, ended: IncidentEnd) -> Outcome:
        """As ``Action.run``."""
        given = pickle.dumps((made.options, target, context.withheld))
        try:
            result = self._processes.act(made.target, given, _Answers(target, context, ended))
        except CallbackFailed as fault:  # the traceback is of there
            return Outcome(False, str(fault), {"output": fault.trace, **fault.data})
        ok, text, data = msgpack.unpackb(result)
        return Outcome(bool(ok), str(text), dict(data))


class _Answers:
    """What an action there may ask, answered by the context here."""

    def __init__(self, target: ActionTarget, context: ActionContext, ended: IncidentEnd) -> None:
        self._target, self._context, self._ended = target, context, ended
        self._known: dict[str, Callable[..., Any]] = {
            "callback": self._callback,
            "collect": self._collect,
            "is_proved": lambda *who: context.is_proved(ProcessIdentity(*who)),
            "last_output": lambda name, has_ended: context.last_output(name, has_ended=has_ended),
            "log": context.log,
            "restart": context.restart,
            "urls": lambda target: list(context.urls(target)),
        }

    def answer(self, question: bytes) -> bytes:
        """Pickled: the result, or what it raised, in words."""
        try:
            method, arguments = msgpack.unpackb(question)
            return pickle.dumps((None, self._known[method](*arguments)))
        except LookupError as fault:
            return pickle.dumps((LookupError, str(fault.args[0]) if fault.args else ""))
        except Exception as fault:  # noqa: BLE001  # it is the action's: whatever a callback raised
            return pickle.dumps((RuntimeError, f"{type(fault).__name__}: {fault}"))

    def notice(self) -> StopReason | None:
        """Why it must stop waiting; None: it need not."""
        return self._ended.reason

    def _callback(self, name: str, fields: Sequence[Any]) -> None:
        self._context.callback(name, Incident(*fields)._replace(cause=Cause(fields[2])))

    def _collect(self, seconds: float) -> dict[str, Any]:
        return dict(self._context.collect(self._target, seconds, lambda: self._ended.recovered))


# -- there ------------------------------------------------------------------------------------------------------


class _Context(ProcessHandles):
    """An ``ActionContext`` there: what concerns processes is done there, the rest is asked for."""

    def __init__(self, talk: Talk, withheld: Any) -> None:
        super().__init__()
        self._talk = talk
        self.withheld = withheld

    def callback(self, name: str, incident: Incident) -> None:
        self._ask("callback", name, list(incident))

    def restart(self, program: str) -> None:
        self._ask("restart", program)

    def last_output(self, name: str, *, has_ended: bool) -> list[str]:
        return cast("list[str]", self._ask("last_output", name, has_ended))

    def here(self, who: ProcessIdentity) -> bool:
        return super().here(who) and bool(self._ask("is_proved", *who))

    def signal(self, who: ProcessIdentity, number: int) -> bool:
        return pid_here(who) != os.getppid() and super().signal(who, number)

    def group(self, who: ProcessIdentity) -> ProcessGroup | None:
        return None if pid_here(who) == os.getpgid(os.getppid()) else super().group(who)

    def collect(
        self, target: ActionTarget, seconds: float, recovered: Callable[[], bool] = lambda: False
    ) -> Mapping[str, Any]:
        """Of the process that the run is about."""
        return cast("Mapping[str, Any]", self._ask("collect", seconds))

    def urls(self, target: str) -> Sequence[str]:
        return cast("Sequence[str]", self._ask("urls", target))

    def log(self, level: int, text: str) -> None:
        self._ask("log", level, text)

    def summary(self, evidence_: Mapping[str, Any], lines: int) -> Sequence[str]:
        return evidence.summary_lines(dict(evidence_), lines)

    def _ask(self, method: str, *arguments: Any) -> Any:
        fault, value = pickle.loads(self._talk.ask(msgpack.packb([method, arguments])))  # noqa: S301  # our own
        if fault is not None:
            raise fault(value)
        return value


_kept: dict[bytes, Action] = {}
"""Actions that were made there, by class and options: each is made once, as it is here."""
_making = threading.Lock()


def perform(found: type[Action], given: bytes, talk: Talk) -> bytes:
    """Run the action of this class; the outcome, packed."""
    options, target, withheld = pickle.loads(given)  # noqa: S301  # of the supervisor
    key = pickle.dumps((found.__module__, found.__qualname__, options))
    with _making:
        action = _kept.get(key) or _kept.setdefault(key, found(**options))
    try:
        outcome = action.run(target, cast(ActionContext, _Context(talk, withheld)), talk.ended)
        if not isinstance(outcome, Outcome):
            raise TypeError(f"an action returns an Outcome, not {type(outcome).__name__}")
        ok, text, data = bool(outcome.ok), str(outcome.text), outcome.data
    except BaseException as fault:  # noqa: BLE001  # SystemExit and KeyboardInterrupt too
        ok, (text, data) = False, raised(fault, action)
    else:
        text, data = redacted(action, text, sanitize.plain(data))
    return cast(bytes, msgpack.packb([ok, sanitize.text(text, TEXT_MAX), data]))
