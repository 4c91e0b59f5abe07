"""Robust recovery: each silence gets at most three attempts at recovery, then the watchdog gives up.

The callback takes the incident, whose ``run`` counts the attempts. The first breakdown is mended by the
second attempt, the next one by none.

The file of the same name in the other directory differs in one line: who keeps the timer.
"""

import os
import threading
import time

import banken

SPEED = float(os.environ.get("BANKEN_EXAMPLE_SPEED", "1"))  # 10: everything ten times as fast
ATTEMPTS_MAX = 3

attempts_needed = 0
settled = threading.Event()
outcome = "nobody noticed"


def recover(incident: banken.Incident) -> None:
    global outcome
    if incident.run > ATTEMPTS_MAX:
        outcome = f"given up after {ATTEMPTS_MAX} attempts: call the operator"
        dog.stop()  # from inside the callback: nobody waits for himself
        settled.set()
        return
    time.sleep(1 / SPEED)  # stands for the attempt; it has to be shorter than `interval`
    mended = incident.run >= attempts_needed
    print(f"attempt {incident.run} of {ATTEMPTS_MAX}: {'mended' if mended else 'in vain'}")
    if mended:
        outcome = "in service again"
        dog.feed()
        settled.set()


dog = banken.client.watchdog("restart-limit", timeout=20 / SPEED, interval=8 / SPEED)
dog.set_callback(recover)
dog.start_in_thread()

for attempts in (2, 99):
    attempts_needed = attempts
    for _ in range(4):
        time.sleep(3 / SPEED)
        dog.feed()
    print("breakdown")
    settled.clear()
    settled.wait(100 / SPEED)
    print(outcome)

dog.stop()
print("stopped")
