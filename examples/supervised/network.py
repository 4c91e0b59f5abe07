"""A network watchdog: probes that succeed feed it; when they fail for too long it finds out what is down.

The service probed is a real one on 127.0.0.1, which this example starts, breaks and repairs.

The file of the same name in the other directory differs in one line: who keeps the timer.
"""

import os
import socket
import socketserver
import threading
import time

import banken

SPEED = float(os.environ.get("BANKEN_EXAMPLE_SPEED", "1"))  # 10: everything ten times as fast
timeout, interval = (seconds / SPEED for seconds in banken.presets.SERVICE)


class Pong(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"pong")


class Service(socketserver.ThreadingTCPServer):
    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Pong)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


def answers(port: int) -> bool:
    """A port that is open proves little: the service has to say something."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=3) as peer:
            return peer.recv(4) == b"pong"
    except OSError:
        return False


service, neighbour = Service(), Service()
PORT, NEIGHBOUR_PORT = service.server_address[1], neighbour.server_address[1]
repaired = threading.Event()


def on_timeout() -> None:
    global service
    if answers(NEIGHBOUR_PORT):
        print("ALARM: the neighbour answers, so the network works: restarting the service")
        service = Service(PORT)
        repaired.set()
    else:
        print("ALARM: nobody answers, look at the network")


dog = banken.client.watchdog("network", timeout, interval)
dog.setCallback(on_timeout)
dog.start_in_thread()

was_up, after = True, 0
for probe in range(30):
    if probe == 4:
        service.close()
    is_up = answers(PORT)
    if is_up:
        dog.feed()
    if is_up != was_up:
        print(f"probe {probe}: the service {'is back' if is_up else 'does not answer'}")
        was_up = is_up
    after += repaired.is_set() and is_up
    if after == 3:
        break
    time.sleep(10 / SPEED)

dog.stop()
service.close()
neighbour.close()
print("stopped")
