"""``dns`` with a server of the test's own, which also hangs, refuses, and lies."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.checks.kit import fails, free_port, nothing_left, passes

from banken.errors import Refused
from banken_supervisor.config.checks import parse_checks

pytest.importorskip("dns", reason="needs dnspython")
import dns.flags
import dns.message
import dns.rcode
import dns.rrset

ZONE = {
    ("example.org.", "A"): ["192.0.2.1", "192.0.2.2"],
    ("example.org.", "AAAA"): ["2001:db8::1"],
    ("example.org.", "MX"): ["10 mail.example.org."],
    ("example.org.", "TXT"): ['"v=spf1 -all"'],
}
NAMES = {name for name, _ in ZONE}


def honest(query: dns.message.Message) -> dns.message.Message | bytes | None:
    """As a server of this zone answers."""
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.RA
    name, kind = query.question[0].name.to_text(), dns.rdatatype.to_text(query.question[0].rdtype)
    if name not in NAMES:
        answer.set_rcode(dns.rcode.NXDOMAIN)
    elif (name, kind) in ZONE:
        answer.answer.append(dns.rrset.from_text_list(name, 60, "IN", kind, ZONE[name, kind]))
    return answer


def silent(query: dns.message.Message) -> dns.message.Message | bytes | None:
    return None


def refusing(query: dns.message.Message) -> dns.message.Message | bytes | None:
    answer = dns.message.make_response(query)
    answer.set_rcode(dns.rcode.SERVFAIL)
    return answer


def garbled(query: dns.message.Message) -> dns.message.Message | bytes | None:
    return b"\x00\xff" * 300


@contextmanager
def serving(answer: Callable[[dns.message.Message], dns.message.Message | bytes | None]) -> Iterator[int]:
    """The port of a server over UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                query, peer = sock.recvfrom(4096)
                if query == b"over":
                    return
                made = answer(dns.message.from_wire(query))
                if made is not None:
                    sock.sendto(made if isinstance(made, bytes) else made.to_wire(), peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            sock.sendto(b"over", sock.getsockname())
            thread.join()


def test_records() -> None:
    """Of several types, as dig shows them; one that must be there."""
    with serving(honest) as port:
        check = {"dns": "example.org", "server": f"127.0.0.1:{port}", "limit": "2s"}
        with nothing_left():
            assert passes(check).startswith("192.0.2.1, 192.0.2.2 in ")
            passes({**check, "expect": "192.0.2.2"})
            assert fails({**check, "expect": "192.0.2.3"}) == '"192.0.2.3" was expected, 192.0.2.1, 192.0.2.2 came'
            passes({**check, "type": "AAAA", "expect": "2001:db8::1"})
            passes({**check, "type": "MX", "expect": "10 mail.example.org."})
            passes({**check, "type": "TXT", "expect": "v=spf1 -all"})
            assert fails({**check, "type": "SRV"}) == "example.org has no record of type SRV"
            assert fails({**check, "dns": "nothing.example.org"}) == "nothing.example.org does not exist"


def test_a_server_that_hangs_and_recovers() -> None:
    behaviour = [silent]
    with serving(lambda query: behaviour[0](query)) as port, nothing_left():
        check = {"dns": "example.org", "server": f"127.0.0.1:{port}", "limit": "500ms"}
        assert fails(check) == f"no result within 0.5 s: 127.0.0.1:{port} did not answer"
        behaviour[0] = honest
        passes(check)
        behaviour[0] = refusing
        assert "no server gave a good answer: " in fails(check)
        assert "SERVFAIL" in fails(check)
        behaviour[0] = garbled
        fails(check)
        behaviour[0] = honest
        passes(check)


def test_nobody_is_there() -> None:
    fails({"dns": "example.org", "server": f"127.0.0.1:{free_port()}", "limit": "500ms"})


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"dns": "192.0.2.1"}, "dns: .* is no name"),
        ({"dns": "a b"}, "dns: .* is no name"),
        ({"type": "ANY"}, "type: .*allowed: "),
        ({"server": "ns.example.org"}, "server: .* is no address"),
        ({"server": "ns.example.org:53"}, "server: .* is no address of a server"),
    ],
)
def test_what_is_wrong_is_said(more: dict[str, object], words: str) -> None:
    with pytest.raises(Refused, match=words):
        parse_checks({"dns": "example.org", **more})
