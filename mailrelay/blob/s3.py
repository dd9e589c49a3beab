"""Objects in a bucket of an S3-compatible store: the only file that knows obstore (extra `s3`).

Its own retries are short: whoever wants an object kept waits and tries again, so that an outage of hours loses nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mailrelay.blob.base import ObjectsAway, checked
from mailrelay.errors import Fatal

if TYPE_CHECKING:
    from mailrelay.config.schema import Bucket

_WHOLE = 16 * 1024 * 1024
"""Bytes up to which an object is put by one request; a larger one in pieces."""


class S3Objects:
    """Objects of a bucket."""

    def __init__(self, settings: Bucket) -> None:
        """Raises Fatal without the extra."""
        try:
            import obstore
            from obstore.store import S3Store
        except ImportError:
            raise Fatal("attachments.s3 needs the extra s3: pip install mailrelay[s3]") from None
        self._obstore = obstore
        self._errors = (obstore.exceptions.BaseError, OSError)
        self._prefix = settings.prefix
        endpoint = settings.endpoint or ""
        given: dict[str, Any] = {"bucket": settings.bucket, "region": settings.region}
        if settings.endpoint is not None:
            given |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
        if settings.access_key is not None and settings.secret_key is not None:
            given |= {
                "access_key_id": settings.access_key.reveal(),
                "secret_access_key": settings.secret_key.reveal(),
            }
        self._store = S3Store(
            **given,
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "timeout": timedelta(seconds=settings.timeout),
                "connect_timeout": timedelta(seconds=min(10.0, settings.timeout)),
            },
            retry_config={
                "max_retries": 2,
                "retry_timeout": timedelta(seconds=settings.timeout),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=2),
                    "base": 2,
                },
            },
        )

    async def put(self, name: str, data: bytes) -> None:
        """See `Objects`."""
        try:
            await self._obstore.put_async(self._store, self._key(name), data, use_multipart=len(data) > _WHOLE)
        except self._errors as error:
            raise _away(error) from None

    async def get(self, name: str) -> bytes | None:
        """See `Objects`."""
        try:
            found = await self._obstore.get_async(self._store, self._key(name))
            return bytes(await found.bytes_async())
        except FileNotFoundError:
            return None
        except self._errors as error:
            raise _away(error) from None

    async def remove(self, name: str) -> None:
        """See `Objects`."""
        try:
            await self._obstore.delete_async(self._store, self._key(name))
        except FileNotFoundError:
            return
        except self._errors as error:
            raise _away(error) from None

    async def close(self) -> None:
        """See `Objects`."""

    def _key(self, name: str) -> str:
        return self._prefix + checked(name)


def _away(error: Exception) -> ObjectsAway:
    """What the store said as ours: its kind alone, since its words have URLs, names and what a stranger's server answered."""
    return ObjectsAway(f"The bucket of attachments cannot be used now ({type(error).__name__})")
