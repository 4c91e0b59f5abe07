"""``banken config check`` and the keys and certificates that [cluster] and ``listen`` need."""

from __future__ import annotations

import os
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from banken_supervisor.config import examine
from banken_supervisor.config.certificates import validity
from banken_supervisor.keys import needed_keys
from banken_supervisor.keys.directory import KeyDirectory
from hosts_kit import free_ports
from process.kit import until

from .certificates_kit import Authority
from .members_kit import Member


class Place:
    """A directory with an authority's certificates, and keys."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.authority = Authority(path / "ca")
        self.cert, self.key = self.authority.issue("member")
        self.keys = KeyDirectory(path / "keys")
        self.keys.new("watch-1", server=True)

    def faults(self, **changed: str) -> list[str]:
        """What the check says of this config, each by its key."""
        files = {"ca": self.authority.cert, "cert": self.cert, "key": self.key, **changed}
        lines = "".join(f'{key} = "{value}"\n' for key, value in files.items())
        file = self.path / "banken.toml"
        file.write_text(
            f'[supervisor]\nlisten = ["tcp://127.0.0.1:7767"]\nkeys = "{self.keys.path}"\n'
            f'[cluster]\nname = "c"\nmember = "a"\nendpoints = ["https://h:2379"]\n{lines}'
        )
        _, found = examine(file, more=needed_keys.problems)
        return [f"{each.key}: {each.text}" for each in found]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_what_is_there_is_no_fault(place: Place) -> None:
    assert place.faults() == []


def test_each_file_that_is_missing_is_told_at_its_key(place: Place) -> None:
    gone = str(place.path / "gone.pem")
    found = place.faults(ca=gone, cert=gone, key=gone)
    assert found == [f'cluster.{key}: "{gone}": No such file or directory' for key in ("ca", "cert", "key")]


def test_a_certificate_that_has_expired_or_is_none(place: Place) -> None:
    old, key = place.authority.issue("old", days=0)
    (told,) = place.faults(cert=old, key=key)
    assert told.startswith(f'cluster.cert: "{old}": has expired at ')
    (place.path / "none.pem").write_text("hello")
    none = str(place.path / "none.pem")
    assert place.faults(ca=none) == [f'cluster.ca: "{none}": has no certificate in PEM']
    broken = Path(place.cert).read_text().replace("MII", "AII", 1)
    (place.path / "broken.pem").write_text(broken)
    assert "has a certificate that cannot be read" in place.faults(ca=str(place.path / "broken.pem"))[0]


def test_a_certificate_that_nothing_is_asked_with_is_a_fault(place: Place) -> None:
    """Whoever gives an authority believes that what is asked is secret."""
    file = place.path / "banken.toml"
    file.write_text(
        '[cluster]\nname = "c"\nmember = "a"\nendpoints = ["http://127.0.0.1:2379", "http://[::1]:2379"]\n'
        f'ca = "{place.authority.cert}"'
    )
    _, found = examine(file)
    said = [f"{each.key}: {each.text}" for each in found]
    assert said == ["cluster: ca is for https:// endpoints, and all that are named are http://"]


@pytest.mark.process
def test_a_supervisor_says_that_its_certificate_has_expired(place: Place) -> None:
    """It begins all the same: a new one is read when it is begun again, and etcd's users know more."""
    old, key = place.authority.issue("old", days=0)
    place.faults(cert=old, key=key)
    text = (place.path / "banken.toml").read_text()
    member = Member(place.path, "a", text.replace("7767", str(free_ports())).replace("//h:", "//127.0.0.1:"))
    told = f'warning [cluster] cert: "{old}": has expired at '
    member.start()
    try:
        until(lambda: told in (member.place / "log").read_text(), "it is told")
    finally:
        member.end()


def test_one_authority_that_is_valid_is_enough(place: Place) -> None:
    old, _ = place.authority.issue("old", days=0)
    both = place.path / "both.pem"
    both.write_text(Path(old).read_text() + Path(place.authority.cert).read_text())
    assert place.faults(ca=str(both)) == []


def test_a_key_of_another_certificate_or_that_all_may_read(place: Place) -> None:
    _, other = place.authority.issue("other")
    assert place.faults(key=other) == [f'cluster.key: "{other}": is not the key of "{place.cert}"']
    os.chmod(place.key, 0o644)
    assert place.faults() == [f'cluster.key: "{place.key}": every user may read it (mode 0644); allowed is 0640']


@pytest.mark.root
def test_what_belongs_to_another_user(place: Place) -> None:
    """Of root's process: what any other user owns."""
    os.chown(place.cert, 4_000, 4_000)
    assert place.faults() == [f'cluster.cert: "{place.cert}": it belongs to user 4000, who is neither root nor you']
    os.chown(place.cert, 0, 0)
    os.chown(place.keys.path / "watch-1.key", 4_000, 4_000)
    (told,) = place.faults()
    assert told.startswith(f"supervisor.keys: {place.keys.path}/watch-1.key")


def test_keys_that_are_missing_or_wrong(place: Place) -> None:
    place.keys.access_file.write_text("[[key]]\nname = 7\n")
    assert any("supervisor.keys: " in each and "key[0]" in each for each in place.faults())
    place.keys.access_file.unlink()
    (place.keys.path / "watch-1.key").unlink()
    (told,) = place.faults()
    assert "watch-1.key" in told
    (place.keys.path / "watch-1.pub").unlink()
    (told,) = place.faults()
    assert "must have exactly one key of a server, and has: none" in told


def test_the_time_that_a_certificate_is_valid(place: Place) -> None:
    """As openssl shows it; and of what is no certificate nothing."""
    der = ssl.PEM_cert_to_DER_cert(Path(place.cert).read_text())
    shown = subprocess.run(
        ["openssl", "x509", "-in", place.cert, "-noout", "-enddate"], capture_output=True, text=True, check=True
    ).stdout
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(shown.strip().removeprefix("notAfter=")), UTC)
    found = validity(der)
    assert found.ends == ends
    assert timedelta(0) <= datetime.now(UTC) - found.begins < timedelta(hours=1)
    for size in range(len(der) - 1):
        if size < 200:
            with pytest.raises(ValueError, match=r"cut off|form|how long"):
                validity(der[:size])
    for odd in (b"", b"\x30", b"\x30\x84\xff\xff\xff\xff", bytes(300), b"\x30\x80" * 50):
        with pytest.raises(ValueError, match=r"cut off|form|how long"):
            validity(odd)
