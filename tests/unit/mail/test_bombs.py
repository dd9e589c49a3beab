"""P03: what is packed stays packed; a mail costs memory by its own size only."""

from __future__ import annotations

import base64
import io
import tracemalloc
import zipfile
import zlib

import pytest

from mailrelay.mail.inspect import inspect
from mailrelay.mail.message import parse

_ZEROS = 200_000_000


def _zip_of_zeros() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros", "w") as file:
        for _ in range(_ZEROS // 10_000_000):
            file.write(bytes(10_000_000))
    return packed.getvalue()


def _zip_in_zip(inner: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(50):
            archive.writestr(f"{number}.zip", inner)
    return packed.getvalue()


def _gzip_of_zeros() -> bytes:
    packer = zlib.compressobj(wbits=31)
    return b"".join(packer.compress(bytes(10_000_000)) for _ in range(_ZEROS // 10_000_000)) + packer.flush()


def _mail(content: bytes, *, name: str, coding: str = "base64", wire: bytes | None = None) -> bytes:
    head = (
        "From: a@example.org\r\nTo: b@example.net\r\nSubject: bomb\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: application/octet-stream; name="{name}"\r\nContent-Disposition: attachment; filename="{name}"\r\n'
        f"Content-Transfer-Encoding: {coding}\r\n\r\n"
    )
    return head.encode() + (base64.encodebytes(content).replace(b"\n", b"\r\n") if wire is None else wire)


@pytest.mark.parametrize("bomb", ["zip", "zip-in-zip", "gzip"])
def test_fault_p03_an_archive_is_never_unpacked(bomb: str) -> None:
    packed = {"zip": _zip_of_zeros, "zip-in-zip": lambda: _zip_in_zip(_zip_of_zeros()), "gzip": _gzip_of_zeros}[bomb]()
    raw = _mail(packed, name="bomb.zip")
    tracemalloc.start()
    seen = inspect(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [one.size for one in seen.attachments] == [len(packed)]
    assert peak < 12 * len(raw) + 4_000_000 < _ZEROS


def test_fault_p03_a_gzip_content_encoding_is_not_obeyed() -> None:
    packed = _gzip_of_zeros()
    raw = _mail(packed, name="text.gz").replace(
        b"MIME-Version: 1.0\r\n", b"MIME-Version: 1.0\r\nContent-Encoding: gzip\r\n"
    )
    assert parse(raw).attachments[0].size == len(packed)


def test_fault_p03_base64_zeros_cost_a_small_multiple_of_the_mail() -> None:
    zeros = 15_000_000
    raw = _mail(b"", name="zeros.bin", wire=b"AAAA" * 18 + b"\r\n" + (b"AAAA" * 18 + b"\r\n") * (zeros // 54))
    tracemalloc.start()
    seen = inspect(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen.attachments[0].size == 54 * (zeros // 54 + 1)
    assert peak < 4 * len(raw)
