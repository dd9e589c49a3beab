"""The listeners in a process of their own, for tests that measure it: prints port and dropbox, and ends with its input."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from mailrelay import log
from tests.support.edge import edge


async def main(folder: Path) -> None:
    """Run until standard input ends."""
    log.configure(level="error", json=True)
    async with edge(folder) as here:
        print(here.port(), here.address, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
