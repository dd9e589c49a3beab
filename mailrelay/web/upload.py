"""Files that are sent to us, and lines that are answered while they are read (R7)."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import IO, TypeVar, cast

from fastapi import Request
from starlette.exceptions import HTTPException

T = TypeVar("T")
_CHUNK = 500
_IN_MEMORY = 1_000_000


def kind_of(request: Request, known: Mapping[str, T]) -> T:
    """What is known by the media type of the body. Raises HTTPException 415."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    found = known.get(kind)
    if found is None:
        raise HTTPException(415, f"Send {' or '.join(sorted(known))}, not {kind or 'nothing'}")
    return found


async def spooled(request: Request) -> IO[bytes]:
    """The body as a file, in memory while it is small; whoever gets it closes it."""
    file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 (closed by whoever reads it to its end)
    try:
        async for piece in request.stream():
            await asyncio.to_thread(file.write, piece)
        file.seek(0)
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
