"""Basic monitoring: steps of work feed a watchdog; one step takes far too long and is noticed.

The file of the same name in the other directory differs in one line: who keeps the timer.
"""

import os
import time

import banken

SPEED = float(os.environ.get("BANKEN_EXAMPLE_SPEED", "1"))  # 10: everything ten times as fast


def on_timeout() -> None:
    print("ALARM: no sign of life (log it, tell someone, repair it)")


dog = banken.Watchdog(timeout=30 / SPEED, interval=10 / SPEED)
dog.setCallback(on_timeout)
dog.start_in_thread(daemon=True)

for step in range(10):
    long = step == 6
    print(f"step {step}{' takes far too long' if long else ''}")
    time.sleep((45 if long else 5) / SPEED)
    dog.feed()  # only here, where the step is done: the feed proves work, not merely a running process

dog.stop()
print("stopped")
