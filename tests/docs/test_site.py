"""The site is built without a warning, and loads nothing from other hosts."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.blocks import DOCS, ROOT

from banken import client
from banken_supervisor.cli.group import COMMANDS
from banken_supervisor.config.json_schema import schema
from banken_supervisor.web.metrics import METRICS

pytestmark = pytest.mark.timeout(120)  # a build takes 10 s, but on a starved machine

for needed in ("sphinx", "furo", "myst_parser"):
    pytest.importorskip(needed, reason="the extra docs is not installed: pip install '.[docs]'")


def build(source: Path, target: Path, builder: str = "html") -> subprocess.CompletedProcess[str]:
    """As CI builds it."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", builder, str(source), str(target)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages."""
    target = tmp_path_factory.mktemp("site")
    done = build(DOCS, target)
    assert done.returncode == 0, done.stderr
    return target


def text(page: Path) -> str:
    """What is to be read on it."""
    return re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    """No script, style, picture, font or frame has an address elsewhere."""
    loaded = r"""<(?:script|img|iframe|source|embed|object)\b[^>]*\b(?:src|data|srcset)=["'](?:https?:)?//"""
    loaded += "|"
    loaded += r"""<link\b(?![^>]*rel=["'](?:canonical|index|search|next|prev)["'])[^>]*\bhref=["'](?:https?:)?//"""
    pages = [*site.rglob("*.html")]
    assert len(pages) > 25
    assert [page.name for page in pages if re.search(loaded, page.read_text(encoding="utf-8"))] == []
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", style.read_text(encoding="utf-8")), style


def test_the_reference_has_all_that_there_is(site: Path) -> None:
    """Every command, key of the config, metric and function of the client."""
    commands = text(site / "commands.html")
    assert [name for name in COMMANDS if f"banken {name}" not in commands] == []
    keys = text(site / "config.html")
    tables = schema()["$defs"].values()
    assert [key for table in tables for key in table["properties"] if key not in keys] == []
    metrics = text(site / "metrics.html")
    assert [each.full_name for each in METRICS if each.full_name not in metrics] == []
    api = text(site / "api.html")
    assert [name for name in client.__all__ if f"banken.client.{name}" not in api] == []
    for method in ("watchdog", "callback", "policy", "run", "start_in_thread", "stop", "reload"):
        assert re.search(rf"^{method}\(", api, re.MULTILINE), method


BROKEN = (
    ("events.md", "`stalled`", "`stuck`", "differ in: stalled, stuck"),
    ("index.md", "[the house](architecture.md)", "[the house](nowhere.md)", "nowhere.md"),
    ("index.md", "glossary\n", "", "glossary.md: WARNING"),
)


def test_what_is_wrong_ends_the_build(tmp_path: Path) -> None:
    """An event that the table lacks, a link to nowhere, a page that is in no contents."""
    source = tmp_path / "docs"
    shutil.copytree(DOCS, source)
    for page, old, new, _ in BROKEN:
        before = (source / page).read_text(encoding="utf-8")
        assert old in before
        (source / page).write_text(before.replace(old, new, 1), encoding="utf-8")
    done = build(source, tmp_path / "site", "dummy")
    assert done.returncode != 0
    assert [complaint for *_, complaint in BROKEN if complaint not in done.stderr] == []
