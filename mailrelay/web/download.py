"""Bytes from strangers, answered so that no browser does anything with them but save them (P04, P11)."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from mailrelay.mail import file_name
from mailrelay.web import etag

SHUT = "default-src 'none'; sandbox"
"""The Content-Security-Policy of a file: opened all the same, it runs nothing, loads nothing and has an origin of its own."""
A_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The bytes, to be saved.",
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
        "headers": {
            "ETag": {"description": "Of these bytes.", "schema": {"type": "string"}},
            "Content-Disposition": {
                "description": "The name to save it under (RFC 6266).",
                "schema": {"type": "string"},
            },
        },
    },
    304: {"description": "You have just these bytes: If-None-Match."},
}
"""What the description of a route says that answers with a file."""


def served(request: Request, data: bytes, *, name: str, type: str) -> Response:  # noqa: A002 (the field's name)
    """A file to be saved; 304 when the caller has these bytes already. `name` and `type` are what its sender called it."""
    headers = {
        "ETag": etag.of_bytes(data),
        "Content-Disposition": file_name.disposition(name, type),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": SHUT,
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "private, no-cache",
    }
    known = request.headers.get("if-none-match", "")
    if known and etag.names(known.replace("W/", ""), headers["ETag"]):
        return Response(status_code=304, headers={"ETag": headers["ETag"], "Cache-Control": headers["Cache-Control"]})
    # No `charset` beside it: what the sender says of their characters is for who reads the file.
    headers["Content-Type"] = file_name.media_type(type)
    return Response(data, headers=headers)
