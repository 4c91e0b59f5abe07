"""The store on etcd where it is not well: whatever is not an answer is *away*, in time, and says why."""

from __future__ import annotations

import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from banken_supervisor.coordination.etcd import Account, EtcdStore, _why
from banken_supervisor.coordination.store import Away, Done, Refused
from banken_supervisor.text.cluster_text import of_store

from . import etcd_kit
from .certificates_kit import Authority

WITHIN = 5.0
HEADER = b'{"header":{"cluster_id":"1","member_id":"1","revision":"5","raft_term":"%d"}%s}'


class Double:
    """Answers each connection in one way. (What no etcd of today does, or not on request.)"""

    def __init__(self, answer: Callable[[socket.socket, bytes], None]) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        with peer:
            try:
                while request := self._request(peer):
                    self.asked.append(request)
                    self._answer(peer, request)
            except OSError:
                pass

    @staticmethod
    def _request(peer: socket.socket) -> bytes:
        held = b""
        while b"\r\n\r\n" not in held:
            if not (more := peer.recv(65536)):
                return b""
            held += more
        head, _, body = held.partition(b"\r\n\r\n")
        size = next(int(each[15:]) for each in head.split(b"\r\n") if each.lower().startswith(b"content-length:"))
        while len(body) < size:
            body += peer.recv(65536)
        return head.split(b" ")[1] + b" " + body

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def double() -> Iterator[Callable[[Callable[[socket.socket, bytes], None]], Double]]:
    made: list[Double] = []

    def make(answer: Callable[[socket.socket, bytes], None]) -> Double:
        made.append(Double(answer))
        return made[-1]

    yield make
    for each in made:
        each.close()


def http(body: bytes, status: bytes = b"200 OK", kind: bytes = b"application/json") -> Callable[..., None]:
    """An answer with this body."""

    def answer(peer: socket.socket, _: bytes) -> None:
        size = str(len(body)).encode()
        peer.sendall(
            b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %b\r\n\r\n%b" % (status, kind, size, body)
        )

    return answer


def huge(peer: socket.socket, _: bytes) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
    for _ in range(64):
        peer.sendall(b" " * 1024 * 1024)


def half(peer: socket.socket, _: bytes) -> None:
    peer.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"header":{"cluster')
    peer.close()


def slow(peer: socket.socket, _: bytes) -> None:
    """A byte now and then, so that no read ever waits for long."""
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(100):
        peer.sendall(b" ")
        time.sleep(0.05)


def slow_head(peer: socket.socket, _: bytes) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(100):
        peer.sendall(b"X-%d: y\r\n" % number)
        time.sleep(0.05)


def silent(peer: socket.socket, _: bytes) -> None:
    time.sleep(5.0)


ODD_ANSWERS = {
    "list": (http(b"[]"), "no JSON object"),
    "null": (http(b"null"), "no JSON object"),
    "html": (http(b"<html><body>It works!</body></html>", kind=b"text/html"), "answered 200, and no JSON: <html>"),
    "half a JSON": (http(b'{"header":{"cluster_id":"1"'), "no JSON"),
    "deep": (http(b"[" * 100_000), "no JSON"),
    "no header": (http(b"{}"), "no etcd, or one before 3.4"),
    "header of text": (http(b'{"header":"x"}'), "no etcd, or one before 3.4"),
    "odd term": (http(b'{"header":{"cluster_id":"1","raft_term":"x"}}'), "no etcd, or one before 3.4"),
    "no revision": (http(b'{"header":{"cluster_id":"1","raft_term":"2"}}'), "not understood: KeyError"),
    "keys of another": (http(HEADER % (2, b',"kvs":[{"key":"eA==","mod_revision":"1"}]')), "not asked for"),
    "key without revision": (http(HEADER % (2, b',"kvs":[{"key":"YS94"}]')), "not understood: KeyError"),
    "key of no text": (http(HEADER % (2, b',"kvs":[{"key":"/w==","mod_revision":"1"}]')), "UnicodeDecodeError"),
    "key of no base64": (http(HEADER % (2, b',"kvs":[{"key":"%","mod_revision":"1"}]')), "not understood"),
    "a part": (http(HEADER % (2, b',"more":true')), "a part of the keys"),
    "kvs is a number": (http(HEADER % (2, b',"kvs":7')), "not understood: TypeError"),
    "no page": (http(b"404 page not found", b"404 Not Found", b"text/plain"), "404, and no JSON: 404 page"),
    "refused with a reason": (
        http(b'{"error":"x","code":8,"message":"etcdserver: mvcc: database space exceeded"}', b"503 Busy"),
        "answered 503: etcdserver: mvcc: database space exceeded",
    ),
    "64 MB": (huge, "more than 33554432 bytes"),
    "breaks off": (half, "IncompleteRead"),
    "no HTTP": (lambda peer, _: peer.sendall(b"\x15\x03\x01\x00\x02\x02\x46" * 10 + b"\r\n"), "BadStatusLine"),
    "hangs up": (lambda peer, _: peer.close(), "hung up without an answer, as one does that wants https://"),
}  # fmt: skip
"""What a member answers, and what is said about it."""


@pytest.mark.parametrize("case", ODD_ANSWERS)
def test_what_is_no_answer_is_away_and_says_why(double: Callable[..., Double], case: str) -> None:
    answer, says = ODD_ANSWERS[case]
    store = EtcdStore([double(answer).url], "a/")
    for _ in range(2):  # it is the same the second time, whatever became of the connection
        with pytest.raises(Away, match=says):
            store.read("", WITHIN)
    store.close()


@pytest.mark.parametrize("answer", [slow, slow_head, silent], ids=["a byte now and then", "endless head", "silent"])
def test_a_call_ends_in_time(double: Callable[..., Double], answer: Callable[..., None]) -> None:
    store = EtcdStore([double(answer).url], "a/")
    begun = time.monotonic()
    with pytest.raises(Away, match="no whole answer in time"):
        store.transact({}, {"a": b""}, (), 0.4)
    assert 0.35 < time.monotonic() - begun < 4.0
    store.close()


def test_the_attempts_share_one_deadline(double: Callable[..., Double]) -> None:
    """Each silent member has its part of it, and the one that answers is asked first from then on."""
    deaf = [double(silent).url for _ in range(2)]
    well = double(http(HEADER % (2, b"")))
    store = EtcdStore([*deaf, well.url], "a/")
    begun = time.monotonic()
    assert store.read("", 3.0).revision == 5
    assert 1.9 < time.monotonic() - begun < 3.0
    assert store.endpoint == well.url
    begun = time.monotonic()
    store.read("", 3.0)
    assert time.monotonic() - begun < 0.9
    with pytest.raises(Away) as away:
        EtcdStore(deaf, "a/").read("", 0.2)
    assert all(each in str(away.value) for each in deaf)
    store.close()


def test_tls_where_there_is_none_and_where_a_certificate_is_missed() -> None:
    """Each says what may be the matter."""
    plain, ended = ssl.SSLError(1, "wrong version number"), ssl.SSLEOFError(8, "EOF occurred")
    plain.reason = "WRONG_VERSION_NUMBER"
    assert "speaks no TLS" in _why(plain, is_tls=True)
    assert "another certificate (cert and key), or one at all" in _why(ended, is_tls=True)


def test_nobody_is_there(double: Callable[..., Double]) -> None:
    """A port that nobody has, and a name that does not resolve."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    store = EtcdStore([f"http://127.0.0.1:{port}", "http://no-such-host.invalid:2379"], "a/")
    with pytest.raises(Away) as away:
        store.read("", 2.0)
    unresolved = "http://no-such-host.invalid:2379: the name of the host cannot be resolved"
    assert str(away.value) == f"http://127.0.0.1:{port}: connection refused; {unresolved}"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (3, b"etcdserver: authentication failed, invalid user ID or password"),
        (7, b"etcdserver: permission denied"),
        (8, b"etcdserver: mvcc: database space exceeded"),
    ],
)
def test_a_store_that_refuses_answers(double: Callable[..., Double], code: int, text: bytes) -> None:
    """Which is said so; one that is full is away."""
    url = double(http(b'{"error":"x","code":%d,"message":"%b"}' % (code, text), b"400 Bad Request")).url
    with pytest.raises(Away) as away:
        EtcdStore([url], "a/").read("", WITHIN)
    begin = "the store does not answer: " if code == 8 else "the store refuses: "
    assert of_store(str(away.value)) == f"{begin}{url}: answered 400: {text.decode()}"


def test_an_answer_of_an_older_term_is_not_believed(double: Callable[..., Double]) -> None:
    """It comes from a member that was left behind. Of another cluster the terms do not matter."""
    terms = [b'"7"', b'"6"', b'"7"']
    answers = iter(terms)

    def answer(peer: socket.socket, request: bytes) -> None:
        http((HEADER % (0, b"")).replace(b'"0"', next(answers)))(peer, request)

    store = EtcdStore([double(answer).url], "a/")
    store.read("", WITHIN)
    with pytest.raises(Away, match="is behind: its Raft term is 6, and 7 was seen"):
        store.read("", WITHIN)
    store.read("", WITHIN)
    store.close()


# -- real members ---------------------------------------------------------------------------------


@pytest.mark.etcd
def test_a_member_that_is_killed_stopped_or_cut_off_is_passed_over() -> None:
    """Whatever one of three does, a call is answered within its deadline; when none is left, it is away."""
    with etcd_kit.running(3) as etcd:
        store = etcd.store()
        assert isinstance(store.transact({}, {"a": b"1"}, (), WITHIN), Done)
        for each in etcd.members:
            if each.url == store.endpoint:
                each.send(signal.SIGSTOP)
                stopped = each
        begun = time.monotonic()
        # If it led, the others elect another one first.
        deadline = begun + 10.0
        while True:
            try:
                assert store.read("", 1.0).items["a"].value == b"1"
                break
            except Away:
                assert time.monotonic() < deadline
        assert store.endpoint != stopped.url
        stopped.send(signal.SIGCONT)
        for each in etcd.members[:2]:
            each.stop()
        with pytest.raises(Away):
            store.transact({}, {"a": b"2"}, (), 1.0)
        for each in etcd.members[:2]:
            etcd.restart(each)
        etcd.wait(store)
        assert store.read("", WITHIN).items["a"].value in {b"1", b"2"}
        store.close()


@pytest.mark.etcd
def test_a_restart_of_the_only_member_is_not_noticed_by_the_next_call() -> None:
    """The connection that was kept is no more: that is no fault of the member that is there now."""
    with etcd_kit.running() as etcd:
        store, other = etcd.store(), etcd.store()
        store.read("", WITHIN)
        etcd.members[0].stop()
        etcd.restart(etcd.members[0])
        etcd.wait(other)
        assert dict(store.read("", WITHIN).items) == {}
        store.close()
        other.close()


@pytest.mark.etcd
def test_users_and_their_rights() -> None:
    """A role that is limited to the cluster's keys is enough; a wrong password, no password, and a right that is
    missing are away; a token that etcd has forgotten is asked for anew."""
    with etcd_kit.running() as etcd:
        _give_rights(etcd.members[0].url)
        store = EtcdStore(etcd.urls, "banken/c/", account=Account("banken", "secret"))
        done = store.transact({"leader": 0}, {"leader": b"1"}, (), WITHIN)
        assert isinstance(done, Done)
        assert isinstance(store.transact({"leader": 0}, {}, (), WITHIN), Refused)
        etcd.members[0].stop()  # tokens are in its memory only
        etcd.restart(etcd.members[0])
        waiting = EtcdStore(etcd.urls, "banken/c/", account=Account("banken", "secret"))
        etcd.wait(waiting)
        assert store.read("", WITHIN).items["leader"].value == b"1"
        for account, base, says in (
            (Account("banken", "wrong"), "banken/c/", "authentication failed"),
            (None, "banken/c/", "user name is empty"),
            (Account("banken", "secret"), "banken/other/", "permission denied"),
        ):
            with pytest.raises(Away, match=says):
                EtcdStore(etcd.urls, base, account=account).read("", WITHIN)
        store.close()
        waiting.close()


@pytest.mark.etcd
def test_a_full_database_can_be_read_and_not_written() -> None:
    with etcd_kit.running(more=["--quota-backend-bytes", "1000000"]) as etcd:
        store = etcd.store()

        def fill() -> None:
            for _ in range(100):
                store.transact({}, {"a": bytes(100_000)}, (), WITHIN)

        with pytest.raises(Away, match="database space exceeded"):
            fill()
        assert "a" in store.read("", WITHIN).items
        store.close()


@pytest.mark.etcd
def test_its_size_and_version_are_known() -> None:
    with etcd_kit.running() as etcd:
        store = etcd.store()
        status = store.status(WITHIN)
        assert status.endpoint == etcd.members[0].url
        assert status.version.startswith("3.")
        assert status.size > 0
        assert 0.0 < status.seconds < WITHIN
        store.close()


@pytest.mark.etcd
def test_tls_with_certificates_of_both_sides(tmp_path: Path) -> None:
    """Trusted: taken. Of another authority, out of date, without the client's own, http for https: away."""
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    cert, key = ours.issue("server")
    more = ["--cert-file", cert, "--key-file", key, "--trusted-ca-file", ours.cert, "--client-cert-auth"]
    directory = tmp_path / "etcd"
    directory.mkdir()
    etcd = etcd_kit.Etcd(directory, 1, more)

    def store(ca: str, own: tuple[str, str] | None, url: str = etcd.urls[0]) -> EtcdStore:
        tls = ssl.create_default_context(cafile=ca)
        if own is not None:
            tls.load_cert_chain(*own)
        return EtcdStore([url], "a/", tls)

    try:
        etcd.start()
        well = store(ours.cert, ours.issue("client"))
        etcd.wait(well)
        assert isinstance(well.transact({}, {"a": b"1"}, (), WITHIN), Done)
        away = [
            store(others.cert, ours.issue("client")),
            store(ours.cert, None),
            store(ours.cert, others.issue("client")),
            store(ours.cert, ours.issue("late", days=0)),
            store(ours.cert, None, etcd.urls[0].replace("https", "http")),
        ]
        for each in away:
            with pytest.raises(Away, match=each.endpoint):
                each.read("", WITHIN)
            each.close()
        with pytest.raises(Away, match="certificate verify failed"):
            away[0].read("", WITHIN)
        well.close()
    finally:
        etcd.stop()


def _give_rights(url: str) -> None:
    """Users: root, and banken with a role for banken/c/ only."""
    store = EtcdStore([url], "")
    for path, body in (
        ("auth/user/add", {"name": "root", "password": "root"}),
        ("auth/role/add", {"name": "root"}),
        ("auth/user/grant", {"user": "root", "role": "root"}),
        ("auth/user/add", {"name": "banken", "password": "secret"}),
        ("auth/role/add", {"name": "banken"}),
        ("auth/role/grant", {
            "name": "banken",
            "perm": {"permType": "READWRITE", "key": "YmFua2VuL2Mv", "range_end": "YmFua2VuL2Mw"},
        }),
        ("auth/user/grant", {"user": "banken", "role": "banken"}),
        ("auth/enable", {}),
    ):  # fmt: skip
        store._ask(path, body, WITHIN)
    store.close()
