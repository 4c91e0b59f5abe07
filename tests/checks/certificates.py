"""A certificate authority, and what it signs, by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.checks.daemons import needs


class Certificate(NamedTuple):
    """Files in PEM."""

    certificate: str
    key: str


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)


def authority(where: Path) -> Certificate:
    """Which signs itself."""
    needs("openssl")
    key, certificate = str(where / "ca.key"), str(where / "ca.pem")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    _openssl(
        "req", "-x509", *curve, "-nodes", "-keyout", key, "-out", certificate, "-days", "30", "-subj", "/CN=ca"
    )
    return Certificate(certificate, key)


def signed(where: Path, by: Certificate, name: str, days: int) -> Certificate:
    """For a host; -1 days: it has ended."""
    key, request, certificate = (str(where / f"{name}{days}.{end}") for end in ("key", "csr", "pem"))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    _openssl("req", *curve, "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={name}")
    extra = where / "extra"
    extra.write_text(f"subjectAltName=DNS:{name}\n")
    _openssl(
        "x509", "-req", "-in", request, "-CA", by.certificate, "-CAkey", by.key, "-CAcreateserial",
        "-days", str(days), "-extfile", str(extra), "-out", certificate,
    )  # fmt: skip
    return Certificate(certificate, key)
