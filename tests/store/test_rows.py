"""Dataclasses of rows, made in several threads at once."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import threading
from dataclasses import dataclass
from mailrelay.store import rows

looks, goes_on = threading.Event(), threading.Event()

def slowly():
    looks.set()
    goes_on.wait(30)
    return int

@dataclass
class Inner:
    value: "slowly()"  # what a field is, is asked for when the first one is made

@dataclass
class Outer:
    inner: Inner
    name: str

made = []
threads = [
    threading.Thread(target=lambda: made.append(rows.decode(Outer, {"inner": {"value": 1}, "name": "a"}))) for _ in range(2)
]
threads[0].start()
assert looks.wait(30)
threads[1].start()
threads[1].join(0.2)
goes_on.set()
for one in threads:
    one.join()
assert made == [Outer(Inner(1), "a")] * 2, made
"""


def test_two_threads_that_make_the_first_of_a_dataclass_together_do_not_end_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
