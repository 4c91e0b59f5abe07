"""5. What importing costs, beside bare Python and beside what banken is made of.

Whole interpreters, started one after the other, the contenders taking turns; the same environment for all,
with the bytecode cached (the first round fills the cache and is not counted; ``PYTHONDONTWRITEBYTECODE``
would spoil it and is unset), no user site, and the working directory not on the path. Wall time from start
to exit.

``import banken`` is told as the median of the differences to ``pass`` in the same round. The client's limit
is asked of its import alone, too: bare Python's start is taken off both sides of the ratio, which makes it
stricter.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

from common import Figure, environment, interleaved

PACKAGE_MS_MAX = 10
CLIENT_SHARE_MAX = 115
"""Per cent of what `import zmq, msgpack` takes."""

PROGRAMS = {
    "python": "pass",
    "banken": "import banken",
    "parts": "import zmq, msgpack",
    "client": "from banken import client",
}


def run(quick: bool) -> list[Figure]:
    """Both figures."""
    environ = environment()
    contenders = {name: _starter(program, environ) for name, program in PROGRAMS.items()}
    for warm_up in contenders.values():
        warm_up()
    took = interleaved(15 if quick else 31, contenders)
    rounds = range(len(took["python"]))
    package = [took["banken"][n] - took["python"][n] for n in rounds]
    parts = [took["parts"][n] - took["python"][n] for n in rounds]
    own = [took["client"][n] - took["python"][n] for n in rounds]
    return [
        Figure(
            "import",
            "import banken, beyond bare Python",
            median(package),
            "ms",
            at_most=PACKAGE_MS_MAX,
            note=f"bare Python {median(took['python']):.1f} ms, {len(package)} rounds",
            data={"ms": took},
        ),
        Figure(
            "import",
            "from banken import client, of import zmq, msgpack",
            100 * median(own) / median(parts),
            "%",
            at_most=CLIENT_SHARE_MAX,
            note=f"{median(own):.1f} ms beside {median(parts):.1f} ms, bare Python taken off both; "
            f"whole {100 * median(took['client']) / median(took['parts']):.0f} %",
        ),
    ]


def _starter(program: str, environ: dict[str, str]) -> Callable[[], float]:
    command = [sys.executable, "-s", "-P", "-c", program]

    def start() -> float:
        began = time.perf_counter()
        subprocess.run(command, env=environ, cwd=os.sep, check=True)
        return (time.perf_counter() - began) * 1000

    return start
