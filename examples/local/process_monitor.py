"""A process monitor: a child process must keep talking; one that hangs or dies is started again.

Every line the child prints feeds the watchdog. The first child hangs, the second dies, the third does its
work.

The file of the same name in the other directory differs in one line: who keeps the timer.
"""

import os
import subprocess
import sys
import threading

import psutil

import banken

SPEED = float(os.environ.get("BANKEN_EXAMPLE_SPEED", "1"))  # 10: everything ten times as fast
timeout, interval = (seconds / SPEED for seconds in banken.presets.SERVICE)

CHILD = """
import sys, time
fate, pause = sys.argv[1], float(sys.argv[2])
for beat in range(6):
    print("beat")
    time.sleep(pause)
    if beat == 2 and fate == "hangs":
        sys.stdin.read()        # until the monitor is gone: even a hung child is no orphan
    if beat == 2 and fate == "dies":
        sys.exit(3)
print("done")
"""

fates = iter(["hangs", "dies", "works"])
finished = threading.Event()


def start_child() -> psutil.Popen:
    command = [sys.executable, "-u", "-c", CHILD, next(fates, "works"), str(5 / SPEED)]
    child = psutil.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    print(f"started child {child.pid}")
    threading.Thread(target=listen, args=(child,), daemon=True).start()
    return child


def listen(child: psutil.Popen) -> None:
    with child.stdin, child.stdout:
        for line in child.stdout:
            dog.feed()
            if line == "done\n":
                finished.set()


def on_timeout() -> None:
    global child
    if child.status() == psutil.STATUS_ZOMBIE:
        print(f"child {child.pid} is dead, exit status {child.wait()}")
    else:
        print(f"child {child.pid} is silent, yet alive ({child.status()}): ending it")
        family = [child, *child.children(recursive=True)]
        for process in family:
            process.terminate()
        for process in psutil.wait_procs(family, timeout=3)[1]:
            process.kill()
    child = start_child()
    dog.feed()  # the new child gets a whole timeout for its first word


dog = banken.Watchdog(timeout, interval)
dog.setCallback(on_timeout)
child = start_child()
dog.start_in_thread()

finished.wait(600 / SPEED)
dog.stop()
if finished.is_set():
    print(f"child {child.pid} has done its work, exit status {child.wait()}")
else:
    print("nobody noticed")
