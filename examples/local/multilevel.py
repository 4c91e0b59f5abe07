"""Three levels: one silence is a warning after 30 s, critical after 60 s and an emergency after two minutes.

Three watchdogs are fed together; the longer the silence, the more of them have expired.

The file of the same name in the other directory differs in one line: who keeps the timers.
"""

import os
import threading
import time
from collections.abc import Callable

import banken

SPEED = float(os.environ.get("BANKEN_EXAMPLE_SPEED", "1"))  # 10: everything ten times as fast
LEVELS = {"warning": (30, 10), "critical": (60, 15), "emergency": (120, 20)}

reached = "normal"
kicked = threading.Event()


def watchdog(name: str, timeout: float, interval: float) -> banken.Watchdog:
    """All three are made here; ``name`` is what a supervisor knows each by."""
    return banken.Watchdog(timeout / SPEED, interval / SPEED)


def alarm(level: str) -> Callable[[banken.Incident], None]:
    def callback(incident: banken.Incident) -> None:
        global reached
        if incident.run > 1:
            return  # a repeat: it is called again every interval, while the silence lasts
        reached = level
        print(f"{level.upper()}: silent for {incident.silence * SPEED:.0f} s")
        if level == "emergency":
            kicked.set()  # the last resort: here it brings the work back to life

    return callback


dogs = {level: watchdog(level, *settings) for level, settings in LEVELS.items()}
for level, dog in dogs.items():
    dog.set_callback(alarm(level))
    dog.start_in_thread()

for step in range(8):
    if step == 4:
        print("the work is stuck")
        kicked.wait(300 / SPEED)
    else:
        time.sleep(5 / SPEED)
    for dog in dogs.values():
        dog.feed()
    if reached != "normal":
        print(f"alive again, after: {reached}")
        reached = "normal"
    print(f"step {step}: {reached}")

for dog in dogs.values():
    dog.stop()
print("stopped")
