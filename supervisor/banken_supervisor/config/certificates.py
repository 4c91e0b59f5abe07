"""The certificates of [cluster]: whether its etcd can be asked with them, seen from this process.

How long one is valid stands in its DER (RFC 5280, section 4.1): that is read here, for the standard library shows
it of certificates of authorities only.
"""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from banken_supervisor.coordination.settings import ClusterSettings
from banken_supervisor.files.trusted_files import read_file
from banken_supervisor.text.quoting import quoted

BYTES_MAX = 4 * 1024 * 1024
"""Of one file: the authorities of a whole system are a tenth of it."""

OTHERS_READ = 0o004

BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

_SEQUENCE, _VERSION, _UTC_TIME, _LONG_TIME = 0x30, 0xA0, 0x17, 0x18


class Validity(NamedTuple):
    """From when until when a certificate is valid."""

    begins: datetime
    ends: datetime


def faults(settings: ClusterSettings) -> Iterator[tuple[str, str]]:
    """Key of [cluster], and what is wrong with its file."""
    texts = {key: _read(path) for key in ("ca", "cert", "key") if (path := getattr(settings, key)) is not None}
    for key, (_, why) in texts.items():
        if why is not None:
            yield key, why
    for key in ("ca", "cert"):
        text, why = texts.get(key, ("", ""))
        if why is None and (fault := _certificate_fault(getattr(settings, key), text, all_of=key == "cert")):
            yield key, fault
    if "key" in texts and texts["key"][1] is None:
        assert settings.key is not None
        if os.stat(settings.key).st_mode & OTHERS_READ:
            mode = stat.S_IMODE(os.stat(settings.key).st_mode)
            yield "key", f"{quoted(settings.key, 200)}: every user may read it (mode {mode:04o}); allowed is 0640"
        if (
            settings.cert is not None
            and texts["cert"][1] is None
            and (fault := _pair_fault(settings.cert, settings.key))
        ):
            yield "key", fault


def validity(der: bytes) -> Validity:
    """Of one certificate. ValueError: it is none."""
    try:
        whole, _ = _part(der, 0, _SEQUENCE)
        body, _ = _part(whole, 0, _SEQUENCE)
        at = 0
        if body[0] == _VERSION:
            _, at = _part(body, 0, _VERSION)
        for _ in range(3):  # serial number, algorithm, issuer
            _, at = _part(body, at, body[at])
        times, _ = _part(body, at, _SEQUENCE)
        begins, at = _part(times, 0, times[0])
        ends, _ = _part(times, at, times[at])
        return Validity(_time(begins, times[0]), _time(ends, times[at]))
    except IndexError:
        raise ValueError("it is cut off") from None


def _read(path: str) -> tuple[str, str | None]:
    """What is in it, and why it cannot be used."""
    try:
        found = read_file(path, BYTES_MAX)
    except OSError as fault:
        return "", f"{quoted(path, 200)}: {fault.strerror or fault}"
    if len(found) > BYTES_MAX:
        return "", f"{quoted(path, 200)}: is longer than {BYTES_MAX} bytes"
    return found.decode("ascii", "replace"), None


def _certificate_fault(path: str, text: str, *, all_of: bool) -> str | None:
    """``all_of``: whether each certificate in it must be valid now; else one is enough."""
    whole = [BEGIN + part.partition(END)[0] + END + "\n" for part in text.split(BEGIN)[1:] if END in part]
    if not whole:
        return f"{quoted(path, 200)}: has no certificate in PEM"
    now, wrong = datetime.now(UTC), []
    for each in whole:
        try:
            found = validity(ssl.PEM_cert_to_DER_cert(each))
        except ValueError as fault:
            wrong.append(f"has a certificate that cannot be read: {fault}")
            continue
        if now > found.ends:
            wrong.append(f"has expired at {found.ends:%Y-%m-%d %H:%M} UTC")
        elif now < found.begins:
            wrong.append(f"is valid from {found.begins:%Y-%m-%d %H:%M} UTC on only")
    if wrong and (all_of or len(wrong) == len(whole)):
        return f"{quoted(path, 200)}: {wrong[0]}"
    return None


def _pair_fault(cert: str, key: str) -> str | None:
    """Why the two cannot be used together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_cert_chain(cert, key, password=lambda: "")
    except ssl.SSLError as fault:
        if fault.reason == "KEY_VALUES_MISMATCH":
            return f"{quoted(key, 200)}: is not the key of {quoted(cert, 200)}"
        return f"{quoted(key, 200)}: is no key in PEM, or has a password: {fault.reason or fault}"
    except (OSError, ValueError) as fault:
        return f"{quoted(key, 200)}: {fault}"
    return None


def _part(der: bytes, at: int, tag: int) -> tuple[bytes, int]:
    """What is in the value that begins there, and where the next one begins. ValueError: it is another one."""
    if der[at] != tag:
        raise ValueError("it is not of the form of a certificate")
    length, at = der[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, at = int.from_bytes(der[at : at + size], "big"), at + size
    if at + length > len(der):
        raise IndexError
    return der[at : at + length], at + length


def _time(text: bytes, tag: int) -> datetime:
    if tag not in (_UTC_TIME, _LONG_TIME):
        raise ValueError("it does not say how long it is valid")
    digits = text.decode("ascii")
    if tag == _UTC_TIME:  # of two digits, those below 50 are of this century
        digits = ("20" if digits < "50" else "19") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
