"""A CPU and a memory watchdog: each good reading feeds; only a load that lasts is an alarm.

The process watches itself, and brings itself into trouble: a thread that burns the processor, and a hoard of
memory. The callbacks end both.

The file of the same name in the other directory differs in one line: who keeps the timers.
"""

import os
import threading
import time

import psutil

import banken

SPEED = float(os.environ.get("BANKEN_EXAMPLE_SPEED", "1"))  # 10: everything ten times as fast
CPU_MAX = 2.0  # percent of one core: at rest it needs less, and a crowded machine gives a burner not much more
MEMORY_MAX = 64 * 2**20  # bytes above what the process had at its start

hoard: list[bytes] = []
cool = threading.Event()


def burn() -> None:
    while not cool.is_set():
        pass


def on_cpu_overload() -> None:
    print("ALARM: the processor was busy for too long: ending the burner")
    cool.set()


def on_memory_pressure() -> None:
    print("ALARM: memory was short for too long: dropping the hoard")
    hoard.clear()


def watchdog(name: str, timeout: float, interval: float) -> banken.Watchdog:
    """Both watchdogs are made here; ``name`` is what a supervisor knows each by."""
    return banken.Watchdog(timeout / SPEED, interval / SPEED)


cpu_dog = watchdog("cpu", *banken.presets.BATCH)
memory_dog = watchdog("memory", 180, 20)
cpu_dog.setCallback(on_cpu_overload)
memory_dog.setCallback(on_memory_pressure)
cpu_dog.start_in_thread()
memory_dog.start_in_thread()

me = psutil.Process()
memory_before = me.memory_info().rss
calm = 0
for reading in range(60):
    began, spent = time.monotonic(), time.process_time()
    time.sleep(15 / SPEED)
    cpu = 100 * (time.process_time() - spent) / (time.monotonic() - began)
    memory = me.memory_info().rss - memory_before
    print(f"reading {reading}: processor {cpu:.1f} %, memory {memory / 2**20:+.0f} MiB")
    if cpu < CPU_MAX:
        cpu_dog.feed()
    if memory < MEMORY_MAX:
        memory_dog.feed()
    if reading == 3:
        print("the trouble begins")
        threading.Thread(target=burn, daemon=True).start()
        hoard.append(b"x" * 2 * MEMORY_MAX)
    acted = cool.is_set() and not hoard
    calm = calm + 1 if acted and cpu < CPU_MAX and memory < MEMORY_MAX else 0
    if calm == 3:
        print("all is calm again")
        break

cpu_dog.stop()
memory_dog.stop()
print("stopped")
