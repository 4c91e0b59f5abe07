"""The kit itself, where it has been wrong."""

import subprocess
import sys
import tempfile

from process.kit import written

LINES = 40

WRITER = f"""
import os, time
for number in range({LINES}):
    os.write(2, b"line %d\\n" % number)
    time.sleep(0.001)
"""


def test_what_a_process_writes_while_it_is_read_is_all_there() -> None:
    """A file's position belongs to all who have it open: to seek in it is to move where the process writes on."""
    with tempfile.TemporaryFile() as file:
        process = subprocess.Popen([sys.executable, "-c", WRITER], stderr=file)
        while process.poll() is None:
            written(file)
        assert written(file).decode().splitlines() == [f"line {number}" for number in range(LINES)]
