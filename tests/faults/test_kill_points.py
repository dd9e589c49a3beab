"""Kill −9 at every write, sync, rename and unlink of one mail's life (D03): the n-th of each thread, n = 1, 2, … until none kills.

Each system call of each thread is counted by itself (strace counts so), from the moment that the client begins to speak. What
makes things durable is walked one by one. Plain writes are sampled, about `_SAMPLES` of each kind: all of them take minutes,
with MAILRELAY_TEST_EVERY_WRITE=1.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from mailrelay.model.envelope import Channel
from tests.crash.clients import Client
from tests.crash.relay import Relay, relay
from tests.crash.strace import traced
from tests.support.daemon import until
from tests.support.ledger_oracle import Ledger, Said, check, read_books
from tests.support.peers import need
from tests.support.sink import world
from tests.support.smtp_client import SmtpClient

_DURABLE = ("fsync", "fdatasync", "/^rename", "/^unlink", "/^mkdir", "ftruncate")
_WRITES = ("write", "pwrite64", "/^send(to|msg)")
_THREADS = ("MainThread", "store-writer", "beside_0")
_SAMPLES = 6
_MISSES = 4
# A body over this size is a file, so that its writes, fsync and rename are walked too.
_SETTINGS = {"store": {"small_body": 4_000}, "filing": {"max_attempts": 10}}
_SIZE = 6_000


class _Walk:
    """One relay, killed over and over."""

    def __init__(self, one: Relay, channel: Channel) -> None:
        self.relay = one
        self.channel = channel
        self.ledger = Ledger()
        self.steps = 0
        self.kills = 0
        self._seen = 0
        self._client = Client(one, self.ledger)

    async def count(self, thread: str) -> list[str]:
        """The names of the calls that the thread makes for one mail, in order."""
        self.ensure()
        async with self._client.session(self._listener) as session:
            with traced(self.relay, thread, ",".join((*_DURABLE, *_WRITES))) as trace:
                await self._send(session)
                self._finish()
        return [line.partition("(")[0] for line in trace.read_text().splitlines() if "(" in line]

    async def step(self, thread: str, calls: str, kill_at: int) -> bool:
        """One mail, the daemon killed at this call, if it makes so many this time; whether it was."""
        self.ensure()
        self.steps += 1
        async with self._client.session(self._listener) as session:
            with traced(self.relay, thread, calls, f"signal=SIGKILL:when={kill_at}"):
                try:
                    await self._send(session)
                except (OSError, EOFError):
                    self.relay.wait()
                self._finish()
        if self.relay.exit_status is not None:
            assert self.relay.wait() == -signal.SIGKILL, self.relay.log[-3000:]
            self.kills += 1
            return True
        return False

    @property
    def _listener(self) -> str:
        return "edge" if self.channel is Channel.DROPBOX else "submissions"

    async def _send(self, session: SmtpClient) -> Said:
        if self.channel is Channel.DROPBOX:
            return await self._client.edge(session, size=_SIZE)
        return await self._client.submission(session, size=_SIZE)

    def ensure(self) -> None:
        """It runs, and has finished what was left."""
        while True:
            if self.relay.process is None or self.relay.exit_status is not None:
                self.relay.start()
            try:
                until(lambda: not self.relay.in_flight(), "everything is filed and sent", pause=0.02)
                break
            except OSError:  # the call to be killed at came after the mail's own life, and only now
                assert self.relay.wait() == -signal.SIGKILL, self.relay.log[-3000:]
                self.kills += 1
        self._seen = len(self.relay.log)

    def _finish(self) -> None:
        """Wait until the mail's life is over, or the daemon's."""
        ends = 1 if self.channel is Channel.DROPBOX else 2

        def over() -> bool:
            if self.relay.exit_status is not None:
                return True
            last = self.relay.log[self._seen :]
            return all(
                last.count(f'"event": "{end}"') >= last.count(f'"event": "{begin}"')
                for begin, end in (("arrival.accepted", "arrival.ended"), ("message.submitted", "delivery.sent"))[:ends]
            ) and last.count('"event": "arrival.ended"') >= last.count('"event": "message.submitted"')

        until(over, "the mail's life is over", pause=0.01)


@pytest.mark.timeout(3600 if "MAILRELAY_TEST_EVERY_WRITE" in os.environ else 240)
@pytest.mark.parametrize("channel", [Channel.DROPBOX, Channel.SUBMISSION])
async def test_fault_d03_kill_at_every_write(tmp_path: Path, channel: Channel) -> None:
    need("strace")
    every = "MAILRELAY_TEST_EVERY_WRITE" in os.environ
    walked: dict[tuple[str, str], int] = {}
    with world() as around, relay(tmp_path, around, _SETTINGS) as one:
        walk = _Walk(one, channel)
        for thread in _THREADS:
            made = await walk.count(thread)
            for call in (*_DURABLE, *_WRITES):
                number = walked[thread, call] = sum(1 for name in made if re.match(call.removeprefix("/"), name))
                stride = 1 if every or call in _DURABLE else max(1, number // _SAMPLES)
                missed = 0
                for kill_at in range(1, number + 1, stride):
                    missed = 0 if await walk.step(thread, call, kill_at) else missed + 1
                    if missed == _MISSES:
                        # What is written together differs from run to run: the run that was counted made more.
                        walk.steps -= _MISSES
                        break
        walk.ensure()
        assert one.stop() == 0
        books = await read_books(one.data_folder)
    check(walk.ledger, books, around.sink)
    print(channel, walk.steps, walk.kills, walked)
    # The walk is worth its name: the writer syncs, a body's file is synced and renamed, the loop answers.
    assert walked["store-writer", "fsync"] + walked["store-writer", "fdatasync"] >= 3
    assert walked["store-writer", "pwrite64"] >= 20
    assert walked["beside_0", "fsync"] >= 2
    assert walked["beside_0", "/^rename"] == 1
    assert walked["MainThread", "write"] >= 4
    # On a busy machine the run that was counted may have made more than any other.
    assert walk.kills >= walk.steps * 0.6, "most kill points were not reached"
