"""Objects in a bucket, against an S3 server on this machine: kept, had, removed; away, it says so and says nothing secret (I17)."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator

import pytest

from mailrelay.blob.base import ObjectsAway
from mailrelay.blob.s3 import S3Objects
from mailrelay.config.schema import Bucket
from mailrelay.config.secret import Secret
from tests.support.bucket import bucket_server, free_port

DATA = b"an offer" * 1000
NAME = f"O01ABC/{hashlib.sha256(DATA).hexdigest()[:2]}/{hashlib.sha256(DATA).hexdigest()}.0"


def settings(endpoint: str, **more: object) -> Bucket:
    return Bucket.model_validate(
        {
            "bucket": "crm-attachments",
            "endpoint": endpoint,
            "access_key": Secret("test", "key-id-of-a-test"),
            "secret_key": Secret("test", "hidden-secret-of-a-test"),
            "prefix": "mailrelay/",
            "timeout": 5.0,
            **more,
        }
    )


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with bucket_server("crm-attachments") as url:
        yield url


async def test_what_is_put_is_had_and_removed(endpoint: str) -> None:
    objects = S3Objects(settings(endpoint))
    assert await objects.get(NAME) is None
    await objects.put(NAME, DATA)
    await objects.put(NAME, DATA)
    assert await objects.get(NAME) == DATA
    whole = S3Objects(settings(endpoint, prefix=""))
    assert await whole.get(NAME) is None
    await objects.remove(NAME)
    await objects.remove(NAME)
    assert await objects.get(NAME) is None
    await objects.close()


async def test_a_large_object_goes_in_pieces(endpoint: str) -> None:
    objects = S3Objects(settings(endpoint))
    large = bytes(range(256)) * 80_000
    await objects.put(NAME, large)
    assert await objects.get(NAME) == large
    await objects.remove(NAME)


async def test_a_store_that_is_away_says_so_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    objects = S3Objects(settings(f"http://127.0.0.1:{free_port()}", timeout=1.0))
    for work in (objects.put(NAME, DATA), objects.get(NAME), objects.remove(NAME)):
        with caplog.at_level(logging.DEBUG), pytest.raises(ObjectsAway) as raised:
            await work
        for word in ("hidden", "key-id", "127.0.0.1", NAME):
            assert word not in str(raised.value)
    assert "hidden" not in caplog.text


async def test_a_bucket_that_is_not_there_is_away(endpoint: str) -> None:
    objects = S3Objects(settings(endpoint, bucket="another-bucket", timeout=2.0))
    with pytest.raises(ObjectsAway):
        await objects.put(NAME, DATA)


@pytest.mark.parametrize("name", ["../x", "O1/ab/offer.pdf", f"O1/ab/{'a' * 64}.0/../../x", "", NAME + "\n"])
async def test_fault_p04_only_names_of_ours_are_objects(endpoint: str, name: str) -> None:
    objects = S3Objects(settings(endpoint))
    for work in (objects.put(name, DATA), objects.get(name), objects.remove(name)):
        with pytest.raises(ValueError, match="a name that we do not make"):
            await work
