"""What the config accepts can be built: nothing that passed `check` fails when the ladder is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from banken_supervisor import config
from banken_supervisor.actions import registry

KEY = "whsec_" + "c2VjcmV0IQ" * 4
SHORT_KEY = "whsec_aGVsbG8="
HOOK = 'do = "webhook", url = "http://h/"'

GOOD = [
    'do = "callback", callback = "c"',
    'do = "notify", to = "n"',
    'do = "restart"',
    'do = "dump"',
    'do = "dump", seconds = "100ms"',
    'do = "dump", seconds = "1m"',
    'do = "kill", wait = 0',
    'do = "kill", wait = "1h", group = true',
    'do = "signal", signal = "usr1"',
    'do = "exec", command = "a b"',
    'do = "exec", command = ["a", ""], timeout = "1h", output_max = "256KiB"',
    f'do = "exec", command = {["a"] * 256}, timeout = "100ms", output_max = 1000',
    HOOK,
    f'{HOOK}, secret = "{KEY}", timeout = "10m", retries = 20',
    f'{HOOK}, secret_file = "good.secret", timeout = "100ms", retries = 0',
    f'do = "webhook", url = "https://h:8443/{"x" * 2000}"',
    'do = "log"',
    f'do = "log", text = "{{name}} {{cause}} {"x" * 1900}"',
]
BAD = [
    'do = "dump", seconds = "61s"',
    'do = "dump", seconds = 0.05',
    'do = "kill", wait = "2h"',
    'do = "exec", command = "a", timeout = "2h"',
    'do = "exec", command = "a", timeout = 0.01',
    'do = "exec", command = "a", output_max = "257KiB"',
    f'do = "exec", command = {["a"] * 257}',
    f'do = "webhook", url = "http://h/{"x" * 2048}"',
    'do = "webhook", url = "http://u:p@h/"',
    'do = "webhook", url = "http://h/ü"',
    'do = "webhook", url = "http://h:0/"',
    f'{HOOK}, secret = "plain"',
    f'{HOOK}, secret = "{SHORT_KEY}"',
    f'{HOOK}, secret_file = "short.secret"',
    f'{HOOK}, timeout = "601s"',
    f"{HOOK}, timeout = 0.05",
    f"{HOOK}, retries = 21",
    'do = "log", text = "{nome}"',
    f'do = "log", text = "{"x" * 2001}"',
]


def load(directory: Path, step: str) -> config.Config:
    """A program with this one step."""
    (directory / "good.secret").write_text(KEY)
    (directory / "short.secret").write_text(SHORT_KEY)
    file = directory / "banken.toml"
    file.write_text(
        f'[[program]]\nname = "p"\ncommand = "true"\nladder = [{{ {step} }}]\n'
        '[callbacks]\nc = "a:b"\n[notify.n]\nurls = ["json://h"]\n'
    )
    return config.load(file)


@pytest.mark.parametrize("step", GOOD)
def test_what_passes_can_be_built(tmp_path: Path, step: str) -> None:
    """At the edges of every limit."""
    made = load(tmp_path, step).policies[0][1].ladder.steps[0]
    registry.build(made.do, dict(made.options))


@pytest.mark.parametrize("step", BAD)
def test_what_cannot_be_built_does_not_pass(tmp_path: Path, step: str) -> None:
    """One step beyond them."""
    with pytest.raises(config.ConfigFaults):
        load(tmp_path, step)
