"""Requests that Schemathesis makes up from the OpenAPI document, against a real web process."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from web.kit import CONFIG, Street

pytestmark = pytest.mark.process

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
)


@pytest.mark.skipif(importlib.util.find_spec("schemathesis") is None, reason="needs schemathesis (extra dev)")
@pytest.mark.timeout(200)
def test_every_answer_is_what_the_document_says(address: str, tmp_path: Path) -> None:
    """No 5xx, no status, type or shape that is not described, whatever is asked; no traceback, and it goes on.

    More, and each limit of each parameter: ``BANKEN_EXAMPLES=1000 python -m pytest --timeout 3600`` and this file.
    """
    examples = os.environ.get("BANKEN_EXAMPLES")
    street = Street(address)
    try:
        street.run(CONFIG)
        web = street.web()
        web.get("/ping/pool-1")
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://{web.host}/api/v1/openapi.json"]
        command += ["--header", f"X-Banken-Token: {web.token}", "--checks", ",".join(CHECKS)]
        command += ["--phases", "coverage,fuzzing" if examples else "fuzzing", "--max-examples", examples or "4"]
        command += ["--exclude-path", "/api/v1/stream", "--generation-database", "none"]  # a stream has no end
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-8_000:] + done.stderr
        assert "Traceback" not in web.process.log()
        assert web.get("/-/ready").status == 200
        assert street.ask("ping")
    finally:
        street.close()
