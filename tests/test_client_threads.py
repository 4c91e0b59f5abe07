"""A client that many threads use for the first time at once: one socket, one listener."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from banken.address import resolve
from banken.client import Client, zmq_client
from banken.client.callback_listener import CallbackListener
from banken.client.sender import Sender
from banken_supervisor.keys.directory import KeyDirectory

THREADS = 8
ROUNDS = 60


@pytest.mark.parametrize("what", ["feeds", "declares"])
def test_the_first_use_from_several_threads_makes_one_socket(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 rounds of 8 threads that begin at one moment, switched every 10 microseconds."""
    made: list[object] = []

    class CountedSender(Sender):
        def _open(self):  # type: ignore[no-untyped-def]
            if self._socket is None:
                made.append(self)
            return super()._open()

    class CountedListener(CallbackListener):
        def __init__(self, *args: Any) -> None:
            made.append(self)
            super().__init__(*args)

    monkeypatch.setattr(zmq_client, "Sender", CountedSender)
    monkeypatch.setattr("banken.client.callback_listener.CallbackListener", CountedListener)
    monkeypatch.setattr("banken.client.sender.FIRST_WAIT", 0.0)
    monkeypatch.setenv("BANKEN_ADDRESS", str(tmp_path / "a"))
    interval = sys.getswitchinterval()
    several = 0
    for _ in range(ROUNDS):
        made.clear()
        client = Client()
        begin = threading.Barrier(THREADS)

        def use(number: int, client: Client = client, begin: threading.Barrier = begin) -> None:
            begin.wait()
            if what == "feeds":
                client.feed(f"w{number}")
            else:
                client.watchdog(f"w{number}", callback=lambda: None)

        threads = [threading.Thread(target=use, args=(number,), daemon=True) for number in range(THREADS)]
        sys.setswitchinterval(1e-5)
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
        client.close()
        several += len(made) > (1 if what == "feeds" else 2)
    assert several == 0, f"several in {several} of {ROUNDS} rounds"


@pytest.mark.timeout(30)
def test_a_signal_handler_feeds_while_another_thread_speaks_of_its_work(tmp_path: Path) -> None:
    """The handler runs inside a message, whose lock its thread has; the other thread has that of the work,
    and wants the message's. With two locks each would wait for the other for ever."""
    client = Client(tmp_path / "a")
    dog = client.watchdog("w", timeout=60, resolution=0)
    dog.idle()
    client.feed("other")
    sender = client._sender
    assert isinstance(sender, Sender)
    assert sender._put is not None
    put, handled = sender._put, threading.Event()

    def interrupted(frame: bytes, flags: int) -> object:
        sender._put = put
        speaking = threading.Thread(target=dog.busy, args=(5.0,), daemon=True)
        speaking.start()
        speaking.join(0.2)  # it has come as far as it comes
        dog.feed()  # as a signal handler does
        handled.set()
        return put(frame, flags)

    sender._put = interrupted
    client.watchdog("other", timeout=60, resolution=0).feed()
    assert handled.is_set()
    client.close()


@pytest.mark.timeout(30)
def test_a_signal_handler_feeds_while_the_listener_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a close, with the next feed. It starts once."""
    client = Client(tmp_path / "a")
    dog = client.watchdog("w", timeout=60, callback=lambda: None, resolution=0)
    client.close()
    started = []
    start = CallbackListener._start

    def interrupted(listener: CallbackListener) -> None:
        started.append(1)
        client.feed("handler")
        start(listener)

    monkeypatch.setattr(CallbackListener, "_start", interrupted)
    dog.feed()
    assert len(started) == 1
    client.close()


def test_a_key_is_read_once_though_its_path_is_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon changes its directory before the listener needs it."""
    servers = KeyDirectory(tmp_path / "server")
    servers.new("server", server=True)
    path, key = KeyDirectory(tmp_path / "worker").new("w"), servers.server().key.decode()
    path.write_text(f'{path.read_text()}\n[servers]\n"tcp://127.0.0.1:9" = "{key}"\n')
    monkeypatch.chdir(path.parent)
    client = Client("tcp://127.0.0.1:9", key=path.name)
    monkeypatch.chdir(tmp_path)
    ended: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", ended.append)
    client.watchdog("w", timeout=60, callback=lambda: None)
    listener = client._listener
    assert listener is not None
    time.sleep(0.3)
    assert ended == []
    client.close()


def test_what_a_parent_has_sent_a_child_has_not(tmp_path: Path) -> None:
    """So its end waits for the connection, as that of any short job does which feeds once."""
    sender = Sender(resolve(str(tmp_path / "a")))
    sender._flowing = True
    assert sender.ever_sent()
    sender.forked()
    assert not sender.ever_sent()


def test_another_supervisor_gets_the_key_as_its_file_is_by_then(tmp_path: Path) -> None:
    """The file has learnt of it since."""
    servers = KeyDirectory(tmp_path / "server")
    servers.new("server", server=True)
    path, public = KeyDirectory(tmp_path / "worker").new("w"), servers.server().key.decode()
    path.write_text(f'{path.read_text()}\n[servers]\n"tcp://127.0.0.1:9" = "{public}"\n')
    client = Client("tcp://127.0.0.1:9", key=path)
    client.watchdog("w", timeout=60, callback=lambda: None)
    path.write_text(f'{path.read_text()}"tcp://127.0.0.1:10" = "{public}"\n')
    client.connect("tcp://127.0.0.1:10")
    assert client._listener is not None
    assert client._listener._key == client._to().key is not None
    client.close()
