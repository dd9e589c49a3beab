"""O4: over a limit a submission is refused with the limit and the size, before anything is queued."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from mailrelay.errors import TooLarge, TooMany
from mailrelay.model.settings import OrganisationSettings, Plan
from mailrelay.store import ledger, organisations
from tests.support.outbound import Relay, relay


def with_attachment(us: Relay, size: int) -> bytes:
    header = b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="x"\r\n'
    data = base64.encodebytes(b"\0" * size).replace(b"\n", b"\r\n")
    body = (
        b"--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x\r\nContent-Type: application/pdf\r\n"
        b'Content-Disposition: attachment; filename="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        + data
        + b"--x--\r\n"
    )
    return us.mail(header=header, body=body)


SMART_HOST = {"route": "smart_host", "smart_host": {"host": "127.0.0.1", "tls": "never"}}


@pytest.mark.parametrize(
    ("plan", "settings", "limit"),
    [(Plan.PAID, {}, 10_000_000), (Plan.FREE, {}, 3_000_000), (Plan.FREE, SMART_HOST, 30_000_000)],
    ids=["built in", "free plan", "smart host"],
)
async def test_attachments_up_to_the_limit_and_not_one_byte_more(tmp_path: Path, plan, settings, limit: int):
    async with relay(tmp_path, **settings) as us:
        changed = OrganisationSettings(plan=plan)
        await us.store.write(
            organisations.update_organisation,
            type(us.org)(id=us.org.id, name="x", time_zone="UTC", domains=us.org.domains, settings=changed),
        )
        assert (await us.submit(raw=with_attachment(us, limit))).deliveries
        before = await us.store.read(ledger.balance)
        with pytest.raises(TooLarge) as refused:
            await us.submit(raw=with_attachment(us, limit + 1))
        assert (refused.value.limit, refused.value.size) == (limit, limit + 1)
        assert str(refused.value.reply).startswith("552 5.3.4 The attachments have ")
        assert f"{limit // 1_000_000} MB" in str(refused.value)
        assert await us.store.read(ledger.balance) == before


async def test_more_than_five_documents_are_refused(tmp_path: Path):
    async with relay(tmp_path) as us:
        assert (await us.submit(documents=5)).deliveries
        with pytest.raises(TooMany) as refused:
            await us.submit(documents=6)
        assert (refused.value.limit, refused.value.count) == (5, 6)
