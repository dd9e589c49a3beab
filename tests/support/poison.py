"""What a mail may do to the code that prepares it: called in a process of its own, in place of the real thing (Q03)."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from typing import Any

from mailrelay.mail.headers import HeaderBlock
from mailrelay.model.delivery import Refused
from mailrelay.outbound import isolate
from mailrelay.outbound.prepare import Prepared, prepare


def raises(raw: bytes, **call: Any) -> Prepared:
    raise ValueError("the mail is a poem")


def loops(raw: bytes, **call: Any) -> Prepared:
    while True:
        pass


def sleeps(raw: bytes, **call: Any) -> Prepared:
    signal.pause()
    raise AssertionError


def eats(raw: bytes, **call: Any) -> Prepared:
    eaten = [b"x" * 50_000_000 for _ in range(40)]  # 2 GB
    return Prepared(b"".join(eaten), utf8=False)


def dies(raw: bytes, **call: Any) -> Prepared:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def leaves(raw: bytes, **call: Any) -> Prepared:
    os._exit(3)


def prints(raw: bytes, **call: Any) -> Prepared | Refused:
    print("a line that nobody asked for")
    return prepare(raw, **call)


def tells(raw: bytes, **call: Any) -> Prepared:
    return Prepared(repr(dict(os.environ)).encode(), utf8=False)


def as_told(raw: bytes, **call: Any) -> Prepared | Refused:
    """What the subject says; mails without such a subject are prepared."""
    subject = HeaderBlock.parse(raw).get("Subject") or ""
    if subject == "eats" and resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        raise MemoryError("as where a machine has no more")  # not the memory of whoever runs the tests
    return {"raises": raises, "loops": loops, "eats": eats, "dies": dies}.get(subject, prepare)(raw, **call)


def deadly(raw: bytes, **call: Any) -> Prepared | Refused:
    """What the subject says: `dies` ends the process that prepares it, `kills` the daemon, also from a process of its own."""
    subject = HeaderBlock.parse(raw).get("Subject") or ""
    if subject == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    elif subject == "kills":
        apart = sys.modules["__main__"].__spec__
        os.kill(os.getppid() if apart is not None and apart.name == isolate.__name__ else os.getpid(), signal.SIGKILL)
        time.sleep(60)  # nobody is left to hear of it
    return prepare(raw, **call)
