"""A check loop of one's own: no background thread, the loop checks its watchdog once a round.

The file of the same name in the other directory differs in one line: who keeps the timer.
"""

import os

import banken

SPEED = float(os.environ.get("BANKEN_EXAMPLE_SPEED", "1"))  # 10: everything ten times as fast
timeout, interval = (seconds / SPEED for seconds in banken.presets.REALTIME)

failures: list[int] = []


def on_failure() -> None:
    failures.append(len(failures) + 1)
    print(f"FAILURE noticed, check {failures[-1]} in a row")


def is_healthy(round_number: int) -> bool:
    """Stands for a real health check: this system is ill from round 4 to round 12."""
    return not 4 <= round_number <= 12


dog = banken.Watchdog(timeout, interval)
dog.setCallback(on_failure)

for round_number in range(1, 16):
    healthy = is_healthy(round_number)
    print(f"round {round_number}: {'healthy' if healthy else 'ill'}")
    if healthy:
        failures.clear()
        dog.feed()
    dog.start()  # one check, then a sleep of `interval`

dog.stop()
print("stopped")
