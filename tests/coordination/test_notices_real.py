"""The news that an incident is over reaches people once, also where its leader ends in that second."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from process.kit import until

from .members_kit import Cluster, Member, cluster

pytestmark = [pytest.mark.process, pytest.mark.etcd, pytest.mark.timeout(120)]

WITHIN_S = 30.0

CONFIG = """
[[watchdog]]
name = "w-tell-*"
timeout = "2s"
interval = "600s"
ladder = [{{ do = "webhook", url = "http://127.0.0.1:{port}/" }}]
"""

SEVERAL, STORM = 3, 15
"""Notices that are told one by one, and so many that they become one message."""

LEADS_S = 0.6
"""Until another one leads, after one that ends in order."""

BUSY_S = 1.0
"""Seconds that a machine may be late on which others run, too."""


class Receiver:
    """A server that takes webhooks."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        """of each incident in each message: whether it is open or recovered, and the watchdog"""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                what = event["type"].rpartition(".")[2]
                each = event["data"].get("incidents") or [{"name": event["subject"]}]
                receiver.told += [(what, one["name"]) for one in each]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def made(receiver: Receiver) -> Iterator[Cluster]:
    with cluster(2.0, 3, 1, CONFIG.format(port=receiver.port)) as made:
        made.start("w-0", *(name for count in (SEVERAL, STORM) for name in names(count)))
        yield made
        for each in made.members:  # for who looks at a failure
            print(f"-- {each.name}", (each.place / "log").read_text(errors="replace")[-20000:], sep="\n")


def names(count: int) -> list[str]:
    return [f"w-tell-{count}-{number}" for number in range(count)]


def alive(member: Member, wanted: list[str]) -> bool:
    rows = member.home.ask("status")["rows"]
    return {each["name"] for each in rows if each["state"] == "alive"} >= set(wanted)


@pytest.mark.parametrize("count", [SEVERAL, STORM])
def test_a_leader_that_ends_in_order_tells_what_is_over(made: Cluster, receiver: Receiver, count: int) -> None:
    """Its notices wait for others for a second. The next one finds no claim of these incidents, and leads as soon
    as ever: it waits for no message."""
    leader, wanted = made.leader(), names(count)
    until(lambda: leader.home.ask("summary")["cluster"]["acts"], "it may act", WITHIN_S)
    receiver.told.clear()
    made.say("stop", *wanted)
    opened = [("open", name) for name in wanted]
    until(lambda: sorted(receiver.told) == sorted(opened), "all are told", WITHIN_S)
    made.say("feed", *wanted)
    until(lambda: alive(leader, wanted), "all have recovered", WITHIN_S)
    assert not [what for what, _ in receiver.told if what != "open"]
    ends = time.monotonic()
    leader.send(signal.SIGTERM)
    made.leader(other_than=leader.name)
    assert time.monotonic() - ends <= LEADS_S + BUSY_S
    assert leader.process is not None
    leader.process.wait(WITHIN_S)
    until(lambda: len(receiver.told) >= 2 * count, "the ends are told", WITHIN_S)
    time.sleep(4.0)  # whoever leads now would tell after a second, or two in a storm
    assert Counter(receiver.told) == Counter([*opened, *(("recovered", name) for name in wanted)])
    leader.start()
    made.feed("w-0")
