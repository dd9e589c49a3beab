"""Signatures by which a receiver knows that a request is ours and of now: Standard Webhooks 1.0, HMAC-SHA256 (W05)."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

PREFIX: Final = "whsec_"
_BYTES = 32
_FRESH = timedelta(minutes=5)


def new_secret() -> str:
    """`whsec_` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def signature(secret: str, id: str, at: datetime, body: bytes) -> str:  # noqa: A002 (the standard's word)
    """`v1,` and the signature in base64. Raises ValueError for what is no secret."""
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    signed = b".".join((id.encode(), str(_seconds(at)).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, sha256)).decode()


def headers(keys: Sequence[str], id: str, at: datetime, body: bytes) -> Mapping[str, str]:  # noqa: A002
    """The headers of a request, with a signature by each of `keys`: one is enough for the receiver."""
    return {
        "webhook-id": id,
        "webhook-timestamp": str(_seconds(at)),
        "webhook-signature": " ".join(signature(key, id, at, body) for key in keys),
        "Content-Type": "application/json",
    }


def verified(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
    """Whether a request is signed by this secret, and of the last five minutes; as a receiver sees it."""
    try:
        id_, seconds = headers["webhook-id"], int(headers["webhook-timestamp"])
        at = datetime.fromtimestamp(seconds, now.tzinfo)
        ours = signature(secret, id_, at, body).encode()
    except (KeyError, ValueError, OverflowError, OSError):
        return False
    given = headers.get("webhook-signature", "").encode(errors="replace").split()
    return abs(now - at) <= _FRESH and any(hmac.compare_digest(ours, one) for one in given)


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
