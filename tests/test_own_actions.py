"""A user's own actions in a process of their own: what they return and ask, and what they do to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from banken.errors import Refused
from banken.process_identity import own_identity
from banken.protocol.incidents import Incident
from banken_supervisor.actions import ActionContext, ActionReport, Executor, build, callback_processes
from banken_supervisor.actions.callback_processes import CallbackProcesses
from banken_supervisor.actions.own_action import OwnActions
from banken_supervisor.processes.incident_end import StopReason
from banken_supervisor.processes.peer_credentials import PeerCredentials
from recovery_kit import subject, until

WITHIN_S = 60.0

MODULE = """
import ctypes, os, signal, time
from banken_supervisor.actions import Action, Outcome

runs = 0

class Acts(Action):
    name = "acts"
    def __init__(self, *, do, secret=""):
        if do == "wrong": raise ValueError("do is no word")
        self.do, self.hidden = do, (secret,) if secret else ()
    def run(self, target, context, ended):
        return globals()[self.do](self, target, context, ended)

def counts(self, target, context, ended):
    global runs
    runs += 1
    return Outcome(True, f"run {runs} of {target.incident.name}", {"pid": os.getpid(), "had": target.evidence})
def asks(self, target, context, ended):
    context.log(30, "written")
    context.restart("web")
    context.callback("bound", target.incident)
    found = []
    for ask in (lambda: context.callback("none", target.incident), lambda: context.urls("nobody")):
        try: ask()
        except LookupError as fault: found.append(str(fault))
    collected = context.collect(target, 1.0)
    return Outcome(True, "asked", {
        "urls": list(context.urls("oncall")), "faults": found, "here": context.here(target.who),
        "alive": context.alive(target.who), "signalled": context.signal(target.who, 0),
        "group": context.group(target.who) is not None, "collected": collected["headline"],
        "summary": list(context.summary(collected, 1)), "output": context.last_output("web", has_ended=True)})
def raises(self, target, context, ended): raise ValueError("on purpose, with s3cret")
def returns_none(self, target, context, ended): return None
def returns_much(self, target, context, ended):
    return Outcome(True, "é" * 10**7, {"big": "é" * 10**7, "odd": object()})
def exits(self, target, context, ended): os._exit(3)
def crashes(self, target, context, ended): ctypes.string_at(0)
def leaves(self, target, context, ended): raise SystemExit(4)
def closes(self, target, context, ended): os.closerange(3, 256); return Outcome(True)
def waits(self, target, context, ended): return Outcome(ended.wait(15), f"told: {ended.reason}, {ended.text}")
def hangs(self, target, context, ended): time.sleep(60)

class Rotated(Acts):
    def __init__(self, *, do, file):
        self.do, self.file = do, file
    @property
    def hidden(self):
        with open(self.file) as file: return (file.read(),)

def calls_and_hangs(self, target, context, ended): context.callback("quick", target.incident); time.sleep(60)
"""


class Desk:
    """An executor with actions of the user's own, and the supervisor's part of their context."""

    def __init__(self, place: Path) -> None:
        self.processes = CallbackProcesses({}, str(place), None, ["own_acts:Acts", "own_acts:Rotated"])
        assert self.processes.start() == {}
        self.peers = PeerCredentials()
        self.did: list[Any] = []
        self.callbacks: dict[str, Callable[[Incident], object]] = {}
        context = ActionContext("/nowhere", self._call, self.did.append, self.peers)
        context.targets = {"oncall": ["json://x"]}
        context.last_output = lambda name, *, has_ended: [name, str(has_ended)]
        self.reports: list[ActionReport] = []
        self.executor = Executor(context, self.reports.append)
        self.executor.elsewhere = OwnActions(self.processes)
        self._count = 0

    def _call(self, name: str, incident: Incident) -> None:
        if name in self.callbacks:
            self.callbacks[name](incident)
            return
        if name != "bound":
            raise LookupError(f"no callback is called {name!r}")
        self.did.append(incident.cause)

    def begin(self, do: str, limit: float = 50.0, **more: Any) -> str:
        """Have it run; the watchdog's name."""
        self._count += 1
        name = f"{do}-{self._count}"
        action = build("own_acts:Acts", {"do": do, "secret": "s3cret"})
        action.limit_s = limit
        self.executor.submit([action], subject(name, **more))
        return name

    def end(self, name: str) -> ActionReport:
        """What became of it."""
        deadline = time.monotonic() + WITHIN_S
        while not (found := [each for each in self.reports if each.target.incident.name == name]):
            self.executor.check(time.monotonic())
            time.sleep(0.01)
            assert time.monotonic() < deadline, f"nothing became of {name}"
        return found[0]

    def act(self, do: str, **more: Any) -> ActionReport:
        return self.end(self.begin(do, **more))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    place = tmp_path_factory.mktemp("own")
    (place / "own_acts.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(place)
        patch.setattr(callback_processes, "PAUSE_MIN_S", 0.05)
        made = Desk(place)
        yield made
        made.executor.close(0.0)
        made.processes.kill(WITHIN_S)
        assert not made.processes._living


def test_it_runs_elsewhere_and_its_module_keeps_what_it_keeps(desk: Desk) -> None:
    first, second = desk.act("counts", evidence={"headline": "stuck"}), desk.act("counts")
    runs = int(first.text.split()[1])
    assert (first.type.value, first.text) == ("action-done", f"run {runs} of {first.target.incident.name}")
    assert second.text.startswith(f"run {runs + 1} of ")
    assert first.data["had"] == {"headline": "stuck"}
    assert first.data["pid"] == second.data["pid"] != own_identity().pid


def test_its_context_is_the_supervisors(desk: Desk) -> None:
    """It is asked from there. The supervisor itself is not signalled, though it is another process by now."""
    me = own_identity()
    desk.peers.trust(me)
    done = desk.act("asks", who=me)
    assert done.text == "asked", done
    assert desk.did == ["web", "timeout"]
    assert done.data["faults"] == ["no callback is called 'none'", "no notification target is called 'nobody'"]
    assert (done.data["urls"], done.data["output"]) == (["json://x"], ["web", "True"])
    assert (done.data["here"], done.data["alive"]) == (True, True)
    assert (done.data["signalled"], done.data["group"]) == (False, False)
    assert done.data["collected"]
    assert len(done.data["summary"]) <= 1


@pytest.mark.parametrize(
    ("do", "said"),
    [
        ("raises", "ValueError: on purpose, with ***"),
        ("returns_none", "TypeError: an action returns an Outcome, not NoneType"),
        ("leaves", "SystemExit: 4"),
        ("exits", "its process ended while it ran: exit status 3"),
        ("crashes", "its process ended while it ran: "),
        ("closes", "its process ended while it ran: "),
    ],
)
def test_what_it_does_is_told_and_the_next_one_runs(desk: Desk, do: str, said: str) -> None:
    done = desk.act(do)
    assert done.type.value == "action-failed"
    assert done.text.startswith(said), done.text
    assert "s3cret" not in f"{done.text}{done.data}"
    assert desk.act("counts").type.value == "action-done"


@pytest.mark.parametrize(("do", "type_"), [("counts", "action-done"), ("raises", "action-failed")])
def test_what_has_run_is_told_though_its_secrets_are_not_known(
    desk: Desk, tmp_path: Path, do: str, type_: str
) -> None:
    """They were when the config was read."""
    file = tmp_path / "secret"
    file.write_text("s3cret")
    action = build("own_acts:Rotated", {"do": do, "file": str(file)})
    file.unlink()
    with pytest.raises(Refused, match="cannot be used: FileNotFoundError"):
        build("own_acts:Rotated", {"do": do, "file": str(file)})
    desk.executor.submit([action], subject(f"rotated-{do}"))
    done = desk.end(f"rotated-{do}")
    assert done.type.value == type_, done
    assert "`hidden` raised FileNotFoundError" in done.text
    assert "s3cret" not in f"{done.text}{done.data}"


def test_a_long_outcome_is_cut(desk: Desk) -> None:
    done = desk.act("returns_much")
    assert done.type.value == "action-done"
    assert len(f"{done.text}{done.data}") < 600_000


def test_it_is_told_why_it_must_stop_waiting(desk: Desk) -> None:
    for reason in StopReason:
        name = desk.begin("waits")
        until(lambda: desk.executor.counts()["running"], "it runs", WITHIN_S)
        if reason is StopReason.STOPPING:
            desk.executor.stop()
        else:
            desk.executor.cancel(name, why=reason)
        assert desk.end(name).text.startswith(f"told: {reason}, t")


def test_what_hangs_is_ended_and_the_next_one_runs(desk: Desk) -> None:
    assert desk.act("counts").type.value == "action-done", "its process is ready: the limit is the action's alone"
    done = desk.end(desk.begin("hangs", limit=0.3))
    assert done.type.value == "action-stuck"
    assert "it is ended with its process" in done.text
    assert desk.act("counts").type.value == "action-done"


@pytest.mark.parametrize("ends", [True, False])
def test_what_hangs_after_or_in_a_callback_that_it_has_called_is_ended_too(
    desk: Desk, tmp_path: Path, ends: bool
) -> None:
    (tmp_path / "own_quick.py").write_text(f"import time\ndef quick(incident): time.sleep({0 if ends else 60})\n")
    callbacks = CallbackProcesses({"quick": "own_quick:quick"}, str(tmp_path))
    assert callbacks.start() == {}
    desk.callbacks["quick"] = callbacks.function("quick")
    assert desk.act("counts").type.value == "action-done", "its process is ready: the limit is the action's alone"
    done = desk.end(desk.begin("calls_and_hangs", limit=1.0))
    assert done.type.value == "action-stuck"
    assert "it is ended with its process" in done.text
    until(lambda: not any(each.calls for each in [*desk.processes._living]), "nobody waits for the action any more")
    callbacks.kill(WITHIN_S)


def test_one_that_cannot_be_imported_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "own_lone.py").write_text("raise OSError('no')\n")
    processes = CallbackProcesses({}, str(tmp_path), None, ["own_lone:X"])
    assert processes.start() == {"action own_lone:X": "cannot be imported: OSError: no"}
    processes.kill(WITHIN_S)


def test_wrong_options_are_refused_before_it_is_sent(desk: Desk) -> None:
    with pytest.raises(Refused, match="do is no word"):
        build("own_acts:Acts", {"do": "wrong"})
