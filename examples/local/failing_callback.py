"""A callback that raises hurts only itself: it is logged with its traceback, and the watch goes on.

The file of the same name in the other directory differs in one line: who keeps the timer.
"""

import logging
import os
import time

import banken

SPEED = float(os.environ.get("BANKEN_EXAMPLE_SPEED", "1"))  # 10: everything ten times as fast
timeout, interval = (seconds / SPEED for seconds in banken.presets.REALTIME)
logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")


def faulty() -> None:
    print("callback called")
    raise RuntimeError("the callback itself is broken")


dog = banken.Watchdog(timeout, interval)
dog.setCallback(faulty)
dog.start_in_thread()

for silence in (1, 2):
    for _ in range(3):
        time.sleep(2 / SPEED)
        dog.feed()
    print(f"silence {silence} begins")
    time.sleep(15 / SPEED)
    dog.feed()
    print(f"silence {silence} is over, and the work goes on")

dog.stop()
print("stopped")
