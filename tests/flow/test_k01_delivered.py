"""K1: mail that was sent counts as delivered once no bounce came back for some days; nothing is written for it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from mailrelay.clock import to_micros
from mailrelay.model.organisation import Right
from mailrelay.model.settings import OrganisationSettings
from mailrelay.store.tables import delivery
from tests.support import factory
from tests.support.http import serving

V1 = "/api/v1"


@pytest.mark.parametrize("days", [3, 1])
async def test_k01_sent_is_delivered_when_no_bounce_came_back(tmp_path: Path, days: int) -> None:
    async with serving(tmp_path) as api:
        settings = OrganisationSettings(delivered_after_days=days)
        org = await factory.org(api.store, api.clock, domains=("a.test",), settings=settings)
        await factory.user(api.store, api.clock, org, "anna@a.test")
        _, secret = await factory.api_token(api.store, api.clock, org, Right.ADMIN)
        web = api.web.bearing(secret)
        ids = []
        for to in ("bob@b.test", "eve@b.test"):
            said = {"from": "anna@a.test", "to": [to], "subject": "Offer", "text": "Hi"}
            ids.append((await web.post(f"{V1}/messages", json=said)).json["id"])
        now = api.clock.now()

        def went(tx: Any) -> None:
            tx.execute(update(delivery).values(state="sent", ended_at=to_micros(now)))

        def bounced(tx: Any) -> None:
            later = to_micros(now + timedelta(hours=1))
            tx.execute(update(delivery).where(delivery.c.message == ids[1]).values(state="bounced", ended_at=later))

        async def told() -> tuple[list[str], list[str], dict[str, int], int, int]:
            """Of each message, of each delivery, counted, and how many the queue finds as sent and as delivered."""
            shown = [(await web.get(f"{V1}/messages/{one}")).json for one in ids]
            counts = (await web.get(f"{V1}/queue/count")).json["by"]
            found = [len((await web.get(f"{V1}/queue?status={one}")).json["items"]) for one in ("sent", "delivered")]
            listed = {one["id"]: one["status"] for one in (await web.get(f"{V1}/messages")).json["items"]}
            assert [listed[one] for one in ids] == [one["status"] for one in shown]
            each = [one["deliveries"][0]["status"] for one in shown]
            return [one["status"] for one in shown], each, {one["status"]: one["count"] for one in counts}, *found  # type: ignore[return-value]

        await api.store.write(went)
        assert await told() == (["sent"] * 2, ["sent"] * 2, {"sent": 2}, 2, 0)
        await api.store.write(bounced)
        api.clock.advance(timedelta(days=days) - timedelta(seconds=1))
        assert await told() == (["sent", "bounced"], ["sent", "bounced"], {"sent": 1, "bounced": 1}, 1, 0)
        api.clock.advance(timedelta(seconds=1))
        assert await told() == (
            ["delivered", "bounced"],
            ["delivered", "bounced"],
            {"delivered": 1, "bounced": 1},
            0,
            1,
        )
