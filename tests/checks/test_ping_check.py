"""``ping`` on the loopback, without rights and with them, and to where nobody is, in namespaces of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.checks.kit import fails, nothing_left, passes

from banken.errors import Refused
from banken_supervisor.config.checks import parse_checks

pytestmark = pytest.mark.process

LOOK = """
import asyncio, json, sys
from banken_supervisor.checks.subject import Subject
from banken_supervisor.config.checks import parse_checks
for raw in json.loads(sys.argv[1]):
    print(*asyncio.run(parse_checks(raw)[0].run(Subject("it")))[:2])
"""


def in_namespace(script: str, raw: str) -> list[str]:
    """What runs say in a network namespace that the script has set up, without CAP_NET_RAW."""
    look = f"setpriv --bounding-set -net_raw {sys.executable} -c \"$1\" '{raw}'"
    command = ["unshare", "-n", "sh", "-c", f"set -e; ip link set lo up; {script}; {look}", "sh", LOOK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"cannot make a namespace: {done.stderr}")
    assert not done.returncode, done.stderr
    return done.stdout.splitlines()


ALLOWED = "echo '0 2147483647' > /proc/sys/net/ipv4/ping_group_range"
FORBIDDEN = "echo '1 0' > /proc/sys/net/ipv4/ping_group_range"


@pytest.mark.root
def test_without_rights_where_that_is_allowed() -> None:
    """IPv4, IPv6, and a host that is not there."""
    script = f"{ALLOWED}; ip addr add 192.0.2.1/24 dev lo; ip link add far0 type veth; ip link set far0 up"
    script += "; ip addr add 198.51.100.1/24 dev far0"
    raw = '[{"ping": "192.0.2.1", "limit": "1s"}, {"ping": "::1", "limit": "1s"}, '
    raw += '{"ping": "localhost", "limit": "1s"}, '
    raw += '{"ping": "198.51.100.7", "limit": "600ms"}, {"ping": "203.0.113.1", "limit": "600ms"}]'
    first, second, third, gone, unreachable = in_namespace(script, raw)
    assert first.startswith("True 192.0.2.1 answered in ")
    assert second.startswith("True ::1 answered in ")
    assert third.startswith("True ")
    assert gone == "False no result within 0.6 s: 198.51.100.7 does not answer"
    assert unreachable == "False Network is unreachable"


@pytest.mark.root
def test_where_it_is_not_allowed_that_is_said() -> None:
    (text,) = in_namespace(FORBIDDEN, '[{"ping": "127.0.0.1", "limit": "1s"}]')
    assert text.startswith("False this user may not send ICMP: allow its group in net.ipv4.ping_group_range")


@pytest.mark.root
def test_with_rights() -> None:
    """By a raw socket, which hears what other processes are answered, too."""
    with nothing_left():
        passes({"ping": "127.0.0.1", "limit": "1s"})
        passes({"ping": "::1", "limit": "1s"})
    assert "no-such-host.invalid has no address" in fails({"ping": "no-such-host.invalid", "limit": "3s"})


@pytest.mark.root
def test_one_that_stops_answering_and_recovers() -> None:
    """The kernel's own switch."""
    check = '{"ping": "127.0.0.1", "limit": "600ms"}'
    look = LOOK.replace("import asyncio", "import asyncio, pathlib").replace(
        "    print(",
        "    pathlib.Path('/proc/sys/net/ipv4/icmp_echo_ignore_all').write_text(raw.pop('off'))\n    print(",
    )
    raw = ", ".join(check.replace("}", f', "off": "{off}"}}') for off in "010")
    script = f"ip link set lo up; {sys.executable} -c \"$1\" '[{raw}]'"
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", script, "sh", look], capture_output=True, text=True, timeout=60
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["True", "False", "True"], done


@pytest.mark.parametrize("host", ["", "a b", "http://x/", "-x", "host:80"])
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(Refused, match="ping: "):
        parse_checks({"ping": host})
