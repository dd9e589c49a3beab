"""A bulk file into a store: the good lines are in, the bad ones named, and the same file again changes nothing (R7)."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from mailrelay.crm.provider import bulk
from mailrelay.crm.provider.bulk import BadLine, BulkResult
from mailrelay.errors import Invalid
from mailrelay.store import matches, records
from tests.support import factory
from tests.support.clock import FakeClock
from tests.support.http import serving

CSV = """\
module,id,name,email,secondary_email,owner,links,phone
contact,1,Zoë,zoe@customer.test,Z2@customer.test,anna@a.example,account=account/1,+49 30
vehicle,1,Car,,,,,
contact,2,Bob,bob@@x.test,,,,
account,1,Customer GmbH,info@customer.test,,ANNA@A.example,,=HYPERLINK("x")
contact,3,Carl,,,nobody@a.example,,
contact,4,Dora,,,U-none,,
contact,5
deal,1,Big one,not-an-address,,{anna},contact=contact/1,
"""


async def test_good_lines_are_in_and_bad_ones_are_named(tmp_path: Path) -> None:
    clock = FakeClock()
    async with factory.open_store(tmp_path) as store:
        org = await factory.org(store, clock, domains=("a.example",))
        anna = await factory.user(store, clock, org, "anna@a.example")
        file = CSV.format(anna=anna.id).encode()
        for batch in (2, 500):  # in batches or at once, and the second time nothing is new
            result = await bulk.load(store, org.id, bulk.read_csv(io.BytesIO(file)), now=clock.now(), batch=batch)
            assert result == BulkResult(
                created=3 if batch == 2 else 0,
                updated=0,
                unchanged=0 if batch == 2 else 3,
                bad=(
                    BadLine(3, "module: there is no module vehicle"),
                    BadLine(4, "email: The address has more than one @"),
                    BadLine(6, "owner: nobody@a.example is neither the address nor the id of a user"),
                    BadLine(7, "owner: U-none is neither the address nor the id of a user"),
                    BadLine(8, "has 2 columns, and the header has 8"),
                ),
            )
        zoe, customer, deal = [
            await store.read(records.get, org.id, factory.ref(place)) for place in ("contact/1", "account/1", "deal/1")
        ]
        assert (zoe.name, zoe.owner, zoe.source, dict(zoe.fields)) == ("Zoë", anna.id, "bulk", {"phone": "+49 30"})
        assert dict(customer.fields) == {"phone": '=HYPERLINK("x")'}
        assert customer.owner == deal.owner == anna.id
        assert dict(deal.fields) == {"email": "not-an-address"}  # a deal has no address fields
        found = await store.read(matches.by_addresses, org.id, ["z2@customer.test", "info@customer.test"])
        assert [str(match.ref) for match in found] == ["account/1", "contact/1"]
        related = await store.read(matches.related, org.id, [zoe.ref])
        assert {str(one.ref) for one in related} == {"account/1", "deal/1"}


async def test_a_custom_modules_addresses_come_by_json(tmp_path: Path) -> None:
    clock = FakeClock()
    async with factory.open_store(tmp_path) as store:
        org = await factory.org(store, clock)
        await factory.module(store, org, "tenant", "office")
        line = json.dumps({"module": "tenant", "id": 7, "name": "Flat 3", "office": "t@x.test", "rent": 900})
        for expected in ((1, 0, 0), (0, 0, 1)):
            rows = bulk.read_ndjson(io.BytesIO(line.encode()))
            result = await bulk.load(store, org.id, rows, now=clock.now())
            assert (result.created, result.updated, result.unchanged) == expected
        moved = bulk.read_ndjson(io.BytesIO(line.replace("t@x.test", "u@x.test").encode()))
        assert (await bulk.load(store, org.id, moved, now=clock.now())).updated == 1
        found = await store.read(matches.by_addresses, org.id, ["t@x.test", "u@x.test"])
        assert [(match.key, str(match.ref), match.field) for match in found] == [("u@x.test", "tenant/7", "office")]


async def test_a_header_that_is_wrong_loads_nothing(tmp_path: Path) -> None:
    clock = FakeClock()
    async with factory.open_store(tmp_path) as store:
        org = await factory.org(store, clock)
        with pytest.raises(Invalid, match="there is no column id"):
            await bulk.load(store, org.id, bulk.read_csv(io.BytesIO(b"module,name\nlead,x\n")), now=clock.now())


async def test_ten_thousand_lines_are_loaded_in_batches(tmp_path: Path) -> None:
    clock = FakeClock()
    async with factory.open_store(tmp_path) as store:
        org = await factory.org(store, clock)
        lines = [b"module,id,name,email\n", *(b"lead,%d,Lead %d,l%d@x.test\n" % (n, n, n) for n in range(10_000))]
        result = await bulk.load(store, org.id, bulk.read_csv(io.BytesIO(b"".join(lines))), now=clock.now())
        assert (result.created, result.bad) == (10_000, ())
        assert len(await store.read(matches.by_domains, org.id, "lead", ["x.test"], limit=20_000)) == 10_000


async def test_what_the_api_answers_loads_again(tmp_path: Path) -> None:
    with_addresses = {"name": "Zoë", "addresses": {"email": "z@x.test", "secondary_email": "y@x.test"}}
    given = with_addresses | {"links": [{"role": "account", "to": "account/3"}], "fields": {"source": "fair"}}
    async with serving(tmp_path) as api:
        await factory.org(api.store, api.clock)
        assert (await api.local.put("/api/v1/records/contact/17", json=given)).json["change"] == "created"
        (answered,) = (await api.local.get("/api/v1/records/contact")).json["items"]
        lines = [
            answered,
            {"module": "contact", "id": "17", **given},
            {"module": "contact", "id": "18", **given},
            {"module": "contact", "id": "19", "name": "x", "addresses": {"phone": "z@x.test"}},
            {"module": "contact", "id": "19", "name": "x", "fields": {"email": "z@x.test"}},
        ]
        answer = await api.local.post(
            "/api/v1/records/bulk",
            data="\n".join(json.dumps(line) for line in lines).encode(),
            headers={"Content-Type": "application/x-ndjson"},
        )
        *told, sums = [json.loads(line) for line in answer.body.splitlines()]
        assert sums == {"created": 1, "updated": 0, "unchanged": 2, "bad": 2}
        assert [one["because"] for one in told if "because" in one] == [
            "phone: contact has no such address field; it has email, secondary_email",
            "email: is an address field; give it in addresses",
        ]
        copied = (await api.local.get("/api/v1/records/contact/18")).json
        assert [copied[name] for name in ("addresses", "links", "fields")] == [
            answered[name] for name in ("addresses", "links", "fields")
        ]
