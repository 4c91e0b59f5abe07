"""A real Prometheus scrapes a real ``banken web``, as docs/howto/prometheus.md says."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from process.kit import START_S, until
from web.kit import Street

pytestmark = pytest.mark.process

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "prometheus.md"


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus here")
def test_it_scrapes_with_the_token(address: str, tmp_path: Path) -> None:
    """By the config of the page, with the token in a file; with a wrong one the target is down, for that reason."""
    street = Street(address)
    try:
        street.supervisor()
        web = street.web()
        found = re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
        assert found is not None
        for name, token in (("right", web.token), ("wrong", "x" * 20)):
            (tmp_path / name).write_text(token)
        config = (
            found[1].replace("127.0.0.1:7768", web.host).replace("job_name", "scrape_interval: 3s\n    job_name")
        )
        right, wrong = (
            config.replace("/etc/prometheus/banken-token", str(tmp_path / name)) for name in ("right", "wrong")
        )
        (tmp_path / "prometheus.yml").write_text(
            right + wrong.replace("scrape_configs:\n", "").replace("job_name: banken", "job_name: wrong")
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            host = f"127.0.0.1:{free.getsockname()[1]}"
        command = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--web.listen-address={host}"]
        command.append(f"--storage.tsdb.path={tmp_path}/data")
        with open(tmp_path / "log", "wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as prometheus:
            try:

                def up() -> dict[str, str]:
                    return {
                        each["labels"]["job"]: f"{each['health']} {each['lastError']}"
                        for each in _asked(f"http://{host}/api/v1/targets").get("activeTargets", ())
                    }

                until(lambda: up().get("banken") == "up ", f"it scrapes: {(tmp_path / 'log').read_text()}", START_S)
                until(lambda: "401" in up()["wrong"], "the wrong token is refused", START_S)
                values = _asked(f"http://{host}/api/v1/query?query=banken_up")["result"]
                assert [each["value"][1] for each in values] == ["1"]
            finally:
                prometheus.terminate()
    finally:
        street.close()


def _asked(url: str) -> dict[str, list[dict[str, dict[str, str]]]]:
    """Its answer; empty while it does not serve."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            data: dict[str, list[dict[str, dict[str, str]]]] = json.load(answer)["data"]
            return data
    except OSError:
        return {}
