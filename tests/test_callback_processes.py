"""Callbacks of a config in a process of their own: whatever one does to its process, it hurts only itself."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from banken.protocol.incidents import Cause, Incident
from banken_supervisor import config
from banken_supervisor.actions import callback_process, callback_processes
from banken_supervisor.actions.callback_processes import CallbackProcesses, _Place
from banken_supervisor.actions.callbacks import Callbacks
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.runtime.runtime_config import RuntimeConfig

WITHIN_S = 30.0

MODULE = """
import atexit, ctypes, os, resource, signal, sys, threading, time
import _thread

kept = []
def good(incident): kept.append(incident.name)
def tells(incident):
    with open(incident.reason, "w") as file:
        file.write(f"{os.getpid()} {len(kept)} {sorted(os.listdir('/proc/self/fd'))}")
def ends_in_order(incident): atexit.register(lambda: open(incident.reason, "w").close())

def closes(): os.closerange(0, 1024)
def replaces():
    other = os.open(os.devnull, os.O_RDWR)
    for number in range(3, 64):
        if number != other: os.dup2(other, number)
def writes():
    for number in range(3, 64):
        try: os.write(number, b"\\xc1" * 99)
        except OSError: pass
def empties(): sys.modules.clear()
def limits(): resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
def exits(): os._exit(3)
def aborts(): os.abort()
def crashes(): ctypes.string_at(0)
def becomes(): os.execv("/bin/sleep", ["sleep", "60"])
def child_holds():
    if os.fork() == 0: time.sleep(3)
    os._exit(5)

def interrupts(): _thread.interrupt_main()
def terminates(): os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.1)
def ignores(): ctypes.CDLL(None).signal(15, ctypes.c_void_p(1))
def child_returns(): os.fork()
def mutes(): sys.stdout.close(); sys.stderr.close(); os.closerange(0, 3)

def hangs(): time.sleep(60)
def holds_lock(incident):
    if incident.reason: open(incident.reason, "w").close()
    ctypes.PyDLL(None).sleep(60)
def stops(): os.kill(os.getpid(), signal.SIGSTOP); time.sleep(60)
def waits(incident):
    open(incident.reason, "w").close()
    while os.path.exists(incident.reason): time.sleep(0.01)
def raises(): raise ValueError("on purpose")
"""
NAMES = [line.partition("(")[0].removeprefix("def ") for line in MODULE.splitlines() if line.startswith("def ")]


class Desk:
    """A supervisor's callbacks without the supervisor: what became of each."""

    def __init__(self, place: Path, module: str = "hostile", limit: float = WITHIN_S) -> None:
        self.processes = CallbackProcesses({name: f"{module}:{name}" for name in NAMES}, str(place))
        self.faults = self.processes.start()
        self._ended = threading.Condition()
        self._events: list[Event] = []
        self.callbacks = Callbacks(self._report, time_limit=limit)
        for name in NAMES:
            self.callbacks.name(name, self.processes.function(name))
        self._count = 0

    def _report(self, event: Event) -> None:
        with self._ended:
            self._events.append(event)
            self._ended.notify_all()

    def begin(self, callback: str, text: str = "") -> str:
        """Have it run; the watchdog's name."""
        self._count += 1
        name = f"{callback}-{self._count}"
        self.callbacks.run(Incident(name, name, Cause.TIMEOUT, 0.0, 1.0, 1.0, reason=text), callback)
        return name

    def end(self, name: str) -> Event:
        """What became of it."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            self.callbacks.check(time.monotonic())
            with self._ended:
                if found := [event for event in self._events if event.name == name]:
                    assert len(found) == 1
                    return found[0]
                self._ended.wait(0.02)
            assert time.monotonic() < deadline, f"nothing became of {name}: {self._events}"

    def call(self, callback: str, text: str = "") -> Event:
        return self.end(self.begin(callback, text))

    def close(self) -> None:
        self.callbacks.close(0.0)
        self.processes.kill(WITHIN_S)
        assert not self.processes._living


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("hostile")
    (made / "hostile.py").write_text(MODULE)
    return made


@pytest.fixture
def desk(place: Path) -> Iterator[Desk]:
    made = Desk(place)
    yield made
    made.close()


@pytest.fixture(scope="module")
def hurt(place: Path) -> Iterator[Desk]:
    """One for all that is done to a process: a function that ended one has its own afterwards."""
    made = Desk(place)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callback_process, "END_S", 0.2)
    monkeypatch.setattr(callback_processes, "PAUSE_MIN_S", 0.1)


@pytest.mark.parametrize(
    ("callback", "how", "data"),
    [
        ("closes", "closed or replaced its connection", {"status": 113}),
        ("replaces", "closed or replaced its connection", {"status": 113}),
        ("writes", "sent what is no answer", {"signal": "SIGKILL"}),
        ("empties", "emptied sys.modules", {"status": 114}),
        ("limits", "lowered a limit", {"status": 115}),
        ("exits", "exit status 3", {"status": 3}),
        ("crashes", "ended by SIGSEGV", {"signal": "SIGSEGV"}),
        ("becomes", "became another program", {}),
        ("child_holds", "exit status 5", {"status": 5}),
    ],
)
def test_what_ends_its_process_is_told_with_how_and_the_next_one_runs(
    hurt: Desk, callback: str, how: str, data: dict[str, object]
) -> None:
    failed = hurt.call(callback)
    assert failed.type is EventType.CALLBACK_FAILED
    assert "its process ended while it ran: " in failed.data["text"]
    assert how in failed.data["text"]
    assert {key: failed.data[key] for key in ("status", "signal") if key in failed.data} == data
    assert hurt.call("good").type is EventType.CALLBACK_DONE


@pytest.mark.parametrize("callback", ["interrupts", "terminates", "ignores", "child_returns", "mutes"])
def test_what_its_process_survives_ends_well(hurt: Desk, callback: str) -> None:
    assert hurt.call(callback).type is EventType.CALLBACK_DONE
    assert hurt.call("good").type is EventType.CALLBACK_DONE


def test_an_exception_is_told_with_the_traceback_of_there(hurt: Desk) -> None:
    text = hurt.call("raises").data["text"]
    assert text.endswith("ValueError: on purpose\n")
    assert "hostile.py" in text
    assert "callback_process" not in text


@pytest.mark.parametrize("callback", ["holds_lock", "stops"])
def test_what_hangs_is_ended_and_told_once(hurt: Desk, callback: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread can only be left alone; a process is killed."""
    monkeypatch.setattr(hurt.callbacks, "_time_limit", 0.3)
    stuck = hurt.call(callback)
    assert stuck.type is EventType.CALLBACK_STUCK
    assert "after its limit of 0.3 s; it is ended with its process" in stuck.data["text"]
    monkeypatch.undo()
    assert hurt.call("good").type is EventType.CALLBACK_DONE
    until(lambda: hurt.callbacks.counts()["stuck"] == 0)


def test_a_crash_takes_others_along_once_and_says_so(desk: Desk, tmp_path: Path) -> None:
    """What ran beside a crash has failed, and is not run twice. The next crash meets nobody else. The new process
    has its own descriptors and none of ours."""
    here, kept = str(tmp_path / "here"), str(tmp_path / "kept")
    desk.call("good")
    inherited = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    waiting = desk.begin("waits", here)
    until(lambda: os.path.exists(here))
    assert "its process ended while it ran, and 1 other callback in it: exit" in desk.call("exits").data["text"]
    assert "its process ended while it ran, and 1 other callback in it: exit" in desk.end(waiting).data["text"]
    desk.call("tells", kept)
    os.close(inherited)
    _, count, descriptors = Path(kept).read_text().split(maxsplit=2)
    assert count == "0", "another process: what the module kept is gone"
    assert len(descriptors.split(",")) <= 6, (
        "three, its connection, the list that is read, the file that is written"
    )
    waiting = desk.begin("waits", here + "2")
    until(lambda: os.path.exists(here + "2"))
    assert desk.call("exits").type is EventType.CALLBACK_FAILED
    os.remove(here + "2")
    assert desk.end(waiting).type is EventType.CALLBACK_DONE
    assert set(desk.processes._own) == {"exits"}, "what ended well alone is back with the others"


def test_what_runs_beside_a_stuck_one_ends_before_the_process_does(
    hurt: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = str(tmp_path / "here")
    waiting = hurt.begin("waits", here)
    until(lambda: os.path.exists(here))
    process = hurt.processes._shared.process
    assert process is not None
    monkeypatch.setattr(hurt.callbacks, "_time_limit", 0.3)
    assert "when the others in that have ended" in hurt.call("hangs").data["text"]
    assert process.how is None
    os.remove(here)
    assert hurt.end(waiting).type is EventType.CALLBACK_DONE
    until(lambda: process.how is not None)
    assert process.how == "a callback in it was stuck; ended by SIGKILL"


def test_what_crashes_again_and_again_waits_and_is_not_lost(hurt: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process is started later than the one before; the calls wait, and other functions do not."""
    assert [hurt.call("aborts").type for _ in range(3)] == [EventType.CALLBACK_FAILED] * 3
    monkeypatch.setattr(callback_processes, "PAUSE_MIN_S", 0.5)
    began = time.monotonic()
    assert hurt.call("aborts").type is EventType.CALLBACK_FAILED
    waiting = hurt.begin("aborts")
    assert hurt.call("good").type is EventType.CALLBACK_DONE
    assert not [event for event in hurt._events if event.name == waiting]
    assert hurt.end(waiting).type is EventType.CALLBACK_FAILED
    assert time.monotonic() - began > 0.5


def test_the_pause_before_a_start_grows_to_a_bound_and_ends_with_a_steady_process() -> None:
    place, process = (
        _Place({"a": "m:a"}),
        callback_process.CallbackProcess.__new__(callback_process.CallbackProcess),
    )
    process.began = time.monotonic()
    pauses = []
    for _ in range(100):
        place.leave(process, "exit status 1")
        pauses.append(round(place.pause, 1))
    assert pauses[:5] == [0.0, 0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == callback_processes.PAUSE_MAX_S
    process.began -= callback_processes.STEADY_S + 1
    place.start_at = 0.0
    place.leave(process, "exit status 1")
    assert place.pause == 0.0


def test_another_config_lets_what_runs_end_in_order(desk: Desk, tmp_path: Path) -> None:
    here, ended = tmp_path / "here", tmp_path / "ended"
    desk.call("ends_in_order", str(ended))
    waiting = desk.begin("waits", str(here))
    until(here.exists)
    desk.processes.retire()
    assert not ended.exists()
    here.unlink()
    assert desk.end(waiting).type is EventType.CALLBACK_DONE
    until(ended.exists)
    until(lambda: not desk.processes._living)


def test_imports_that_fail_end_or_hang_are_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "bk_ends.py").write_text("import os; os._exit(4)")
    (place / "bk_waits.py").write_text("import time; time.sleep(60)")
    desk = Desk(place, "bk_ends")
    assert set(desk.faults) == set(NAMES)
    assert desk.faults["good"] == "cannot be imported: the process that imports it: exit status 4"
    desk.close()
    monkeypatch.setattr(callback_process, "IMPORT_LIMIT_S", 0.5)
    monkeypatch.setattr(callback_process, "POLL_S", 0.1)
    desk = Desk(place, "bk_waits")
    assert "its imports were not done within 0.5 s" in desk.faults["good"]
    desk.close()


def test_it_does_not_outlive_the_supervisor(place: Path, tmp_path: Path) -> None:
    """Killed with SIGKILL while a callback holds the interpreter's lock of its process."""
    code = f"""
import sys, threading
sys.path.append({str(Path(__file__).parent)!r})
from test_callback_processes import Desk, Path
desk = Desk(Path({str(place)!r}))
desk.call("tells", {str(tmp_path / "told")!r})
desk.begin("holds_lock", {str(tmp_path / "held")!r})
while not Path({str(tmp_path / "held")!r}).exists():
    threading.Event().wait(0.01)
print("begun", flush=True)
threading.Event().wait()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == b"begun\n"
        callback = os.pidfd_open(int((tmp_path / "told").read_text().split()[0]))
        try:
            supervisor.kill()
            assert select.select([callback], [], [], WITHIN_S)[0], "it lives on"
        finally:
            os.close(callback)


def test_callback_process_false_keeps_them_on_threads(place: Path, tmp_path: Path) -> None:
    file = place / "banken.toml"
    file.write_text('[supervisor]\ncallback_process = false\n[callbacks]\nc = "hostile:tells"\n')
    try:
        made = RuntimeConfig(config.load(file))
        made.callbacks["c"](Incident("i", "w", Cause.TIMEOUT, 0.0, 1.0, 1.0, reason=str(tmp_path / "told")))
        assert int((tmp_path / "told").read_text().split()[0]) == os.getpid()
    finally:
        sys.path.remove(str(place))
        sys.modules.pop("hostile", None)


def until(true: object) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)
