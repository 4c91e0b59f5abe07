"""A parent that knows nothing of banken, and a child of multiprocessing that imports it in the middle of its work.

``late.py METHOD ADDRESS``; says the child's exit code.
"""

from __future__ import annotations

import json
import multiprocessing
import sys


def feed_and_raise(address: str) -> None:
    """The child."""
    from banken import client

    client.connect(address)
    while not client.stats()["sent"]:  # on a busy machine one wait for the connection is not always enough
        client.feed("late-child")
    raise RuntimeError("in the child")


if __name__ == "__main__":
    method, address = sys.argv[1:]
    child = multiprocessing.get_context(method).Process(target=feed_and_raise, args=(address,))
    child.start()
    child.join(10)
    assert "banken" not in sys.modules
    print(json.dumps({"exitcode": child.exitcode}), flush=True)
