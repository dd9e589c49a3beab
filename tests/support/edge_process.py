"""The listeners in a process of their own, on uvloop as in the daemon, for tests that measure or that need that loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mailrelay import log
from tests.support.edge import edge

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Running:
    """Such a process: the port of its edge, the address of its dropbox."""

    pid: int
    port: int
    address: str

    def reset_peak(self) -> None:
        """Begin to measure `VmHWM` anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def memory(self, name: str) -> int:
        """VmRSS (now) or VmHWM (at its peak), in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{name}:"))


@asynccontextmanager
async def edge_process(folder: Path) -> AsyncIterator[Running]:
    """A running process; it ends with the context."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.edge_process", str(folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=_ROOT,
    )
    assert process.stdin
    assert process.stdout
    try:
        port, address = (await process.stdout.readline()).split()
        yield Running(process.pid, int(port), address.decode())
    finally:
        process.stdin.close()
        await process.wait()


async def main(folder: Path) -> None:
    """Print port and dropbox, and run until standard input ends."""
    log.configure(level="error", json=True)
    async with edge(folder, tls_timeout=0.5) as here:
        print(here.port(), here.address, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(main(Path(sys.argv[1])))
    else:
        uvloop.run(main(Path(sys.argv[1])))
