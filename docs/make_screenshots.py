"""Makes the pictures of the page in this directory: `python docs/make_screenshots.py`.

Real processes: a supervisor with programs, one of which hangs in a deadlock, workers that feed, `banken web`, and
Debian's Chromium. Needs the extra `dev`; `python -m playwright` brings no browser of its own here.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from playwright.sync_api import Browser, sync_playwright

HERE = Path(__file__).resolve().parent
PORT = 7769
URL = f"http://127.0.0.1:{PORT}/"
SETTLE_S = 25.0
BYTES_MAX = 250 * 1024

WORKER = """
import os, random, sys, threading, time
from banken import client

def take_both(first, second):
    with first:
        time.sleep(0.2)
        with second:
            pass

def loader():
    for step in range(20):
        client.feed(progress=step, status=f"epoch 3, shard {step} of 64")
        time.sleep(random.uniform(0.1, 0.6))
    one, two = threading.Lock(), threading.Lock()
    threading.Thread(target=take_both, args=(one, two), name="prefetch", daemon=True).start()
    take_both(two, one)

def trainer():
    step = 0
    while True:
        client.feed(progress=step, status=f"step {step}, loss {2 / (1 + step / 50):.3f}")
        step += 1
        time.sleep(random.uniform(0.2, 1.1))

def fleet():
    names = {"camera/front": 2, "camera/rear": 2, "ingest-eu-1": 10, "ingest-eu-2": 10, "ingest-us-1": 10,
             "robot+arm": 4, "queue-mailer": 30, "queue-thumbnails": 30, "db.replica@b": 8, "nightly:backup": 90000}
    dogs = {name: client.watchdog(name, timeout=timeout) for name, timeout in names.items()}
    began = time.monotonic()
    client.feed()
    client.pause("ingest-us-1", 3600)
    while True:
        passed = time.monotonic() - began
        for name, dog in dogs.items():
            if name == "db.replica@b" and passed > 6 or name == "queue-mailer" or random.random() < 0.4:
                continue
            dog.feed()
        if 3 < passed < 4:
            client.fail("queue-mailer", "SMTP 451: greylisted, try again later")
        client.feed("ingest-eu-2", status=f"offset {int(passed * 5170):,} of partition 7")
        time.sleep(random.uniform(0.2, 0.6))

client.enable_dumps()
globals()[sys.argv[1]]()
"""

CONFIG = """
[supervisor]
defaults = {{ timeout = "30s", interval = "1m" }}

[[program]]
name = "trainer-{{i}}"
numprocs = 3
command = ["python3", "worker.py", "trainer"]
cwd = {place}
timeout = "5s"
dies_with_supervisor = true

[[program]]
name = "loader"
command = ["python3", "worker.py", "loader"]
cwd = {place}
timeout = "2s"
dies_with_supervisor = true
ladder = [
  {{ do = "dump" }},
  {{ after = "5s", do = "log", text = "still stuck", level = "warning" }},
  {{ after = "10m", do = "restart", budget = "3 per 1h", backoff = "1s..60s" }},
]

[[program]]
name = "fleet"
command = ["python3", "worker.py", "fleet"]
cwd = {place}
timeout = "10m"
dies_with_supervisor = true

[[program]]
name = "evaluator"
command = ["sleep", "infinity"]
autostart = false
dies_with_supervisor = true

[[watchdog]]
name = "ingest-*"
timeout = "10s"
interval = "20s"

[[group]]
name = "ingest"
members = ["ingest-*"]
at_least = 2
"""

PICTURES = {
    "page-light": ("#/watchdog/trainer-1", "light", 1280, 800),
    "page-dark": ("#/watchdog/loader", "dark", 1280, 800),
    "page-incident": ("#/incident/{incident}", "light", 1280, 800),
    "page-phone": ("#/", "light", 390, 844),
}


def main() -> None:
    """Start everything, take the pictures, end everything."""
    with ExitStack() as stack:
        place = Path(tempfile.mkdtemp(prefix="bks-"))
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        worker, config, address = place / "worker.py", place / "banken.toml", place / "run"
        worker.write_text(WORKER)
        config.write_text(CONFIG.format(place=json.dumps(str(place))))
        banken = [sys.executable, "-m", "banken_supervisor"]
        _start(stack, place, [*banken, "run", "-c", str(config), "--address", str(address)])
        _start(stack, place, [*banken, "web", "--address", str(address), "--listen", f"127.0.0.1:{PORT}"])
        time.sleep(SETTLE_S)  # so that there is something to see
        token = (address / "web-token").read_text().strip()
        with urlopen(Request(f"{URL}api/v1/incidents?name=loader", headers={"X-Banken-Token": token})) as answer:
            incident = json.load(answer)["incidents"][0]["id"]
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        stack.callback(browser.close)
        for name, (view, colours, width, height) in PICTURES.items():
            _picture(browser, name, token, view.format(incident=incident), colours, (width, height))


def _start(stack: ExitStack, place: Path, command: list[str]) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # this python3 for the programs
    with open(place / "log", "ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PATH": path})
    stack.callback(process.wait, 10)
    stack.callback(process.send_signal, signal.SIGTERM)


def _picture(browser: Browser, name: str, token: str, view: str, colours: Any, size: tuple[int, int]) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=colours)
    page = context.new_page()
    page.goto(f"{URL}#token={token}")
    page.wait_for_timeout(8000)  # until its message is gone
    page.goto(URL + view)
    page.wait_for_timeout(4000)
    file = HERE / f"{name}.png"
    page.screenshot(path=file)
    context.close()
    _shrink(file)
    print(f"{file.name}: {file.stat().st_size:,} bytes")
    if file.stat().st_size > BYTES_MAX:
        raise SystemExit(f"{file.name} is larger than {BYTES_MAX:,} bytes")


def _shrink(file: Path) -> None:
    """With optipng, where it is installed; the pictures are small without it, too."""
    if shutil.which("optipng"):
        subprocess.run(["optipng", "-quiet", "-o2", str(file)], check=True)


if __name__ == "__main__":
    main()
