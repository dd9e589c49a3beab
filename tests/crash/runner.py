"""The daemon as tests of loss run it: `python -m tests.crash.runner CONFIG`, with one organisation that is the same at each start.

What a test needs to know is left in the data folder's parent: `house.json` (addresses and secrets) and `running.json` (this
start's process, and its threads by name, so that a single one of them can be traced).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mailrelay import daemon
from mailrelay.clock import Clock
from mailrelay.config.load import load
from mailrelay.inbound.passwords import hash_password
from mailrelay.model.organisation import Right
from mailrelay.store.base import Store
from tests.support import factory

PASSWORD = "correct horse battery staple"
ROUNDS = 4


async def _make_house(store: Store, clock: Clock) -> dict[str, str]:
    org = await factory.org(store, clock, domains=("example.com",))
    anna = await factory.user(store, clock, org, "anna@example.com", password=hash_password(PASSWORD, rounds=ROUNDS))
    box = await factory.dropbox(store, clock, anna)
    _, secret = await factory.api_token(store, clock, org, Right.SEND, on_behalf_of=anna)
    return {"dropbox": f"bcc-{box.token}@inbound.test", "user": "anna@example.com", "token": secret}


def write(path: Path, what: Any) -> None:
    """A whole JSON file or none."""
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(what))
    beside.replace(path)


def main(config: Path) -> int:
    """Run until a signal; the daemon's exit status."""
    folder = config.parent

    async def ready(running: daemon.Running) -> None:
        # One thread for all that is done beside the loop: a system call is then always made by the same thread.
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1, thread_name_prefix="beside"))
        await asyncio.to_thread(lambda: None)
        if not (folder / "house.json").exists():
            made = await _make_house(running.application.store, running.application.clock)
            write(folder / "house.json", made)
        ports = {bound.kind.value: bound.port for bound in running.bound}
        ports |= {"api": running.api[1], "ops": running.ops[1], "public": running.public[1]}
        threads = {one.name: one.native_id for one in threading.enumerate()}
        write(folder / "running.json", {"pid": os.getpid(), "threads": threads, "ports": ports})

    return daemon.main(load(config, environ={}), ready=ready)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
