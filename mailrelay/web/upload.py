"""Files that are sent to us, and lines that are answered while they are read (R7)."""

from __future__ import annotations

import asyncio
import errno
import json
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, TypeVar, cast

from fastapi import Request
from starlette.exceptions import HTTPException

from mailrelay.errors import DiskFull

T = TypeVar("T")
_CHUNK = 500
_IN_MEMORY = 1_000_000
FILES = frozenset({"/api/v1/records/bulk", "/api/v1/suppressions/import"})
"""Paths that take a file, which goes over the disk and has a limit of its own."""


def kind_of(request: Request, known: Mapping[str, T]) -> T:
    """What is known by the media type of the body. Raises HTTPException 415."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    found = known.get(kind)
    if found is None:
        raise HTTPException(415, f"Send {' or '.join(sorted(known))}, not {kind or 'nothing'}")
    return found


async def spooled(request: Request, folder: Path) -> IO[bytes]:
    """The body as a file in `folder`, in memory while it is small; whoever gets it closes it. Raises DiskFull."""
    # It has no name, so nothing is left of it after a crash.
    file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=str(folder))  # noqa: SIM115 (closed by whoever reads it)
    try:
        async for piece in request.stream():
            await asyncio.to_thread(file.write, piece)
        file.seek(0)
    except OSError as error:
        file.close()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull("There is no space to take the file; nothing of it was done") from error
        raise
    except BaseException:
        file.close()
        raise
    return cast("IO[bytes]", file)


async def chunk(rows: Iterator[T]) -> tuple[T, ...]:
    """The next few hundred rows, read beside the event loop; none at the end."""
    return await asyncio.to_thread(lambda: tuple(islice(rows, _CHUNK)))


def line(value: Mapping[str, object]) -> bytes:
    """A JSON line."""
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
