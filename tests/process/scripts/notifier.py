"""A daemon that says by sd_notify what it is told: it reads texts as JSON, one a line, from the FIFO that is its
argument. It imports nothing of ours. {"child": text} has a child of it say the text; {"exit": status} ends it."""

import contextlib
import json
import os
import socket
import sys
from typing import Any


def say(text: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(os.environ["NOTIFY_SOCKET"])
        sender.send(text.encode())


def obey(order: Any) -> None:
    if isinstance(order, str):
        say(order)
    elif "exit" in order:
        os._exit(order["exit"])
    elif (child := os.fork()) == 0:
        say(order["child"])
        os._exit(0)
    else:
        os.waitpid(child, 0)


with open(sys.argv[1] + ".env", "w") as file:
    json.dump({"pid": os.getpid(), **os.environ}, file)
with contextlib.suppress(FileExistsError):
    os.mkfifo(sys.argv[1])
with open(os.open(sys.argv[1], os.O_RDWR)) as orders:
    for line in orders:
        obey(json.loads(line))
