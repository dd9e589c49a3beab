"""100,000 records in one request, answered row by row: in memory that stays flat, for clients that read slowly or go away (R7)."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailrelay.store import records
from tests.support import factory
from tests.support.http import Api, serving

V1 = "/api/v1"
ROWS = 100_000
MIB = 1024 * 1024


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def _lines(rows: int) -> AsyncIterator[bytes]:
    for start in range(0, rows, 1000):
        yield b"".join(
            json.dumps(
                {"module": "contact", "id": str(n), "name": f"Person {n}", "email": f"p{n}@c{n % 999}.test"}
            ).encode()
            + b"\n"
            for n in range(start, start + 1000)
        )


def _head(api: Api, length: int) -> bytes:
    return (
        b"POST /api/v1/records/bulk HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
        b"Content-Length: %d\r\n\r\n" % length
    )


@pytest.mark.timeout(600)
async def test_a_hundred_thousand_rows_are_answered_one_by_one_in_flat_memory(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        org = await factory.org(api.store, api.clock)
        warm = b"".join([piece async for piece in _lines(1000)])
        kind = {"Content-Type": "application/x-ndjson"}
        await api.local.post(f"{V1}/records/bulk", data=warm, headers=kind)
        before, most, began = _resident(), 0, time.monotonic()
        reader, writer = await asyncio.open_unix_connection(str(api.server.unix_socket), limit=MIB)
        writer.write(_head(api, sum([len(piece) async for piece in _lines(ROWS)])))
        async for piece in _lines(ROWS):
            writer.write(piece)
            await writer.drain()
        assert b"200" in await reader.readline()
        told = 0
        sums: dict[str, int] = {}
        while not sums:
            line = await reader.readline()
            if line.startswith(b'{"line"'):
                told += 1
                if told % 5000 == 0:
                    most = max(most, _resident() - before)
            elif line.startswith(b'{"created"'):
                sums = json.loads(line)
        writer.close()
        took = time.monotonic() - began
        assert told == ROWS
        assert sums == {"created": ROWS - 1000, "updated": 0, "unchanged": 1000, "bad": 0}
        assert most < 48 * MIB, f"{most / MIB:.0f} MiB"
        assert took < 300
        page = await api.store.read(records.list_records, org.id, "contact", after="", limit=10)
        assert len(page) == 10


@pytest.mark.timeout(300)
async def test_who_does_not_read_the_answer_stops_the_work_and_what_was_answered_is_kept(tmp_path: Path) -> None:
    rows = 60_000
    async with serving(tmp_path) as api:
        org = await factory.org(api.store, api.clock)
        reader, writer = await asyncio.open_unix_connection(str(api.server.unix_socket), limit=4096)
        writer.write(_head(api, sum([len(piece) async for piece in _lines(rows)])))
        async for piece in _lines(rows):
            writer.write(piece)
            await writer.drain()

        async def kept() -> int:
            return len(await api.store.read(records.list_records, org.id, "contact", after="", limit=rows))

        last, now = -1, 0
        while now != last:  # until nothing more is done, as nobody reads
            await asyncio.sleep(2)
            last, now = now, await kept()
        assert 0 < now < rows
        answered = set()
        for _ in range(200):
            line = await reader.readline()
            if line.startswith(b'{"line"'):
                answered.add(json.loads(line)["ref"].removeprefix("contact/"))
        writer.transport.abort()
        await asyncio.sleep(1)
        known = {
            one.ref.id for one in await api.store.read(records.list_records, org.id, "contact", after="", limit=rows)
        }
        assert answered
        assert answered <= known
        assert len(known) < rows
