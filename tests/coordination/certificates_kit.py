"""Certificates for tests, by openssl."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path


class Authority:
    """One that signs certificates, for 127.0.0.1."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self.cert, self._key = str(directory / "ca.pem"), str(directory / "ca.key")
        _openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN={directory.name}", "-keyout", self._key, "-out", self.cert,
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip

    def issue(self, name: str, days: int = 2) -> tuple[str, str]:
        """Paths of a certificate and its key. 0 days: it is out of date."""
        cert, key, request = (str(self._directory / f"{name}.{kind}") for kind in ("pem", "key", "csr"))
        _openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", key, "-out", request,
        )  # fmt: skip
        extensions = self._directory / f"{name}.ext"
        extensions.write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self._key, "-CAcreateserial",
            "-days", str(days), "-extfile", str(extensions), "-out", cert,
        )  # fmt: skip
        if not days:
            time.sleep(1.1)
        return cert, key


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)
