"""The API's resources: people, dropboxes, tokens, modules, records, domains, suppressions, exclusions, the books."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from mailrelay.inbound.passwords import verify_password
from mailrelay.model.organisation import Organisation, Right
from mailrelay.store import people
from mailrelay.store.dropboxes import by_token
from tests.support import factory
from tests.support.answers import Zone
from tests.support.http import Api, Client, ZoneResolver, serving

V1 = "/api/v1"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture
async def org(api: Api) -> Organisation:
    return await factory.org(api.store, api.clock, domains=("example.org",))


@pytest.fixture
async def admin(api: Api, org: Organisation) -> Client:
    _, secret = await factory.api_token(api.store, api.clock, org, Right.ADMIN)
    return api.web.bearing(secret)


async def _user(admin: Client, address: str = "anna@example.org", **more: object) -> dict[str, str]:
    made = await admin.post(f"{V1}/users", json={"name": "Anna", "primary": address, **more})
    assert made.status == 201, made.body
    return dict(made.json)


async def test_a_user_is_added_changed_and_found_by_any_address(admin: Client) -> None:
    made = await _user(admin, alternates=["a.example@EXAMPLE.org"])
    assert made["alternates"] == ["a.example@example.org"]
    assert (await admin.get(f"{V1}/users/A.Example@example.org")).json["id"] == made["id"]
    changed = await admin.patch(
        f"{V1}/users/{made['id']}",
        json={"role": "guest", "alternates": [], "settings": {"unknown": "contact", "modules": ["lead"]}},
    )
    assert changed.json["role"] == "guest"
    assert changed.json["name"] == "Anna"
    settings = changed.json["settings"]
    assert (settings["modules"], settings["unknown"], settings["time_zone"]) == (["lead"], "contact", "")
    assert (await admin.get(f"{V1}/users/a.example@example.org")).status == 404


async def test_what_a_user_may_not_be_is_refused(admin: Client) -> None:
    await _user(admin)
    again = await admin.post(f"{V1}/users", json={"name": "B", "primary": "Anna@example.org"})
    assert again.status == 409
    many = [f"a{number}@example.org" for number in range(6)]
    answer = await admin.post(f"{V1}/users", json={"name": "B", "primary": "b@example.org", "alternates": many})
    assert (answer.status, answer.json["limit"], answer.json["count"]) == (422, 5, 6)
    answer = await admin.patch(f"{V1}/users/anna@example.org", json={"settings": {"modules": ["nonsense"]}})
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "settings.modules[0]")


async def test_users_are_paged_without_loss_or_repetition(admin: Client) -> None:
    made = {(await _user(admin, f"u{number}@example.org"))["id"] for number in range(5)}
    seen: list[str] = []
    after = ""
    while True:
        page = (await admin.get(f"{V1}/users?limit=2&after={after}")).json
        seen += [one["id"] for one in page["items"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert sorted(seen) == sorted(made)
    assert len(seen) == 5


async def test_a_password_is_kept_as_a_hash_and_never_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        org = await factory.org(api.store, api.clock, domains=("example.org",))
        user = await _user(api.local)
        short = await api.local.put(f"{V1}/users/{user['id']}/password", json={"password": "tooshort"})
        assert short.status == 422
        assert b"tooshort" not in short.body
        answer = await api.local.put(f"{V1}/users/{user['id']}/password", json={"password": "correct horse battery"})
        assert (answer.status, answer.body) == (204, b"")
        (login,) = await api.store.read(people.by_address, "anna@example.org")
        assert login.user.org == org.id
        assert verify_password("correct horse battery", login.password, rounds=14)
        assert (await api.local.put(f"{V1}/users/{user['id']}/password", json={"password": None})).status == 204
        (login,) = await api.store.read(people.by_address, "anna@example.org")
        assert login.password is None


async def test_a_dropbox_is_made_regenerated_with_overlap_and_disabled(api: Api, admin: Client) -> None:
    user = await _user(admin)
    path = f"{V1}/users/{user['id']}/dropboxes"
    first = (await admin.post(path)).json
    local, _, domain = first["address"].partition("@")
    assert local.startswith("bcc-")
    assert domain == "inbound.localhost"
    assert (await admin.post(path)).status == 409
    api.clock.advance(timedelta(seconds=1))
    second = (await admin.post(f"{path}/regenerate?overlap=7d")).json
    shown = (await admin.get(path)).json["items"]
    assert [one["id"] for one in shown] == [second["id"], first["id"]]
    token = local.removeprefix("bcc-")
    assert await api.store.read(by_token, token, now=api.clock.now() + timedelta(days=6))
    assert not await api.store.read(by_token, token, now=api.clock.now() + timedelta(days=8))
    third = (await admin.post(f"{path}/regenerate")).json
    newest = third["address"].partition("@")[0].removeprefix("bcc-")
    assert await api.store.read(by_token, newest, now=api.clock.now())
    assert (await admin.delete(path)).status == 204
    assert not await api.store.read(by_token, newest, now=api.clock.now())
    assert (await admin.post(f"{path}/regenerate?overlap=soon")).status == 422


async def test_a_dropbox_is_shown_to_its_user_and_to_administrators_only(
    api: Api, org: Organisation, admin: Client
) -> None:
    anna = await factory.user(api.store, api.clock, org, "anna@example.org")
    ben = await factory.user(api.store, api.clock, org, "ben@example.org")
    await factory.dropbox(api.store, api.clock, anna)
    for who, status in ((anna, 200), (ben, 403)):
        _, secret = await factory.api_token(api.store, api.clock, org, Right.READ, on_behalf_of=who)
        for path in ("dropboxes", "dropbox.vcf"):
            answer = await api.web.bearing(secret).get(f"{V1}/users/{anna.id}/{path}")
            assert answer.status == status
    card = await admin.get(f"{V1}/users/{anna.id}/dropbox.vcf")
    assert card.headers["Content-Type"].startswith("text/vcard")
    assert card.body.startswith(b"BEGIN:VCARD\r\nVERSION:4.0\r\n")
    assert b"EMAIL:bcc-" in card.body
    assert (await admin.get(f"{V1}/users/{ben.id}/dropbox.vcf")).status == 404


async def test_a_tokens_secret_is_shown_once(api: Api, admin: Client) -> None:
    made = await admin.post(f"{V1}/tokens", json={"name": "CRM", "rights": ["read"]})
    assert made.status == 201
    secret = made.json["secret"]
    assert (await api.web.bearing(secret).get(f"{V1}/users")).status == 200
    listed = await admin.get(f"{V1}/tokens")
    assert secret not in listed.body.decode()
    assert made.json["id"] in {one["id"] for one in listed.json["items"]}
    assert (await admin.delete(f"{V1}/tokens/{made.json['id']}")).status == 204
    assert (await api.web.bearing(secret).get(f"{V1}/users")).status == 401
    assert (await admin.post(f"{V1}/tokens", json={"name": "x", "rights": []})).status == 422


async def test_a_custom_module_has_its_own_address_fields(admin: Client) -> None:
    given = {"label": "Tenants", "address_fields": [{"name": "caretaker"}]}
    assert (await admin.put(f"{V1}/modules/tenant", json=given)).json["custom"] is True
    record = {"name": "House 4", "addresses": {"caretaker": "key@house.example"}, "fields": {"floors": "3"}}
    kept = await admin.put(f"{V1}/records/tenant/4", json=record)
    assert kept.json["change"] == "created"
    assert kept.json["addresses"] == [{"field": "caretaker", "kind": "custom", "address": "key@house.example"}]
    assert (await admin.put(f"{V1}/modules/tenant", json={"label": "Tenants"})).status == 409
    for bad in ("Tenant", "9lives", "a-b"):
        assert (await admin.put(f"{V1}/modules/{bad}", json=given)).status == 422
    primary = {"label": "T", "address_fields": [{"name": "email", "kind": "primary"}]}
    assert (await admin.put(f"{V1}/modules/other", json=primary)).status == 422


async def test_a_record_is_kept_as_given_and_listed(admin: Client) -> None:
    await _user(admin)
    given = {
        "name": "Bob",
        "owner": "anna@example.org",
        "addresses": {"email": "bob@customer.example"},
        "links": [{"role": "account", "to": "account/1"}],
        "fields": {"city": "Cork"},
    }
    assert (await admin.put(f"{V1}/records/contact/17", json=given)).json["change"] == "created"
    assert (await admin.put(f"{V1}/records/contact/17", json=given)).json["change"] == "unchanged"
    shown = (await admin.get(f"{V1}/records/contact/17")).json
    assert (shown["ref"], shown["links"], shown["fields"]) == (
        "contact/17",
        [{"role": "account", "to": "account/1"}],
        {"city": "Cork"},
    )
    changed = await admin.put(f"{V1}/records/contact/17", json={"name": "Bob"})
    assert (changed.json["change"], changed.json["addresses"], changed.json["owner"]) == ("updated", [], None)
    assert [one["ref"] for one in (await admin.get(f"{V1}/records/contact")).json["items"]] == ["contact/17"]
    assert (await admin.get(f"{V1}/records/contact/17/messages")).json == {"items": [], "next": None}
    assert (await admin.delete(f"{V1}/records/contact/17")).status == 204
    assert (await admin.get(f"{V1}/records/contact/17")).status == 404


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": "B", "addresses": {"mail": "b@x.example"}}, "addresses.mail"),
        ({"name": "B", "addresses": {"email": "not one"}}, "addresses.email"),
        ({"name": "B", "fields": {"email": "b@x.example"}}, "fields.email"),
        ({"name": "B", "links": [{"role": "account", "to": "account"}]}, "links[0].to"),
        ({"name": "B\nC"}, "name"),
    ],
)
async def test_a_wrong_record_names_its_field(admin: Client, given: object, field: str) -> None:
    answer = await admin.put(f"{V1}/records/contact/1", json=given)
    assert answer.status == 422, answer.body
    assert [one["field"] for one in answer.json["errors"]] == [field]


async def test_bulk_reports_bad_lines_by_number_and_keeps_the_good_ones(admin: Client) -> None:
    lines = ["module,id,name,email"]
    lines += [f"contact,{number},Person {number},p{number}@customer.example" for number in range(1200)]
    lines[7] = "contact,x,Broken,not an address"
    lines[900] = "nowhere,y,Broken,p@customer.example"
    answer = await admin.post(
        f"{V1}/records/bulk", data="\r\n".join(lines).encode(), headers={"Content-Type": "text/csv; charset=utf-8"}
    )
    assert answer.status == 200
    *told, sums = answer.lines
    assert [one["line"] for one in told] == list(range(2, 1202))
    assert told[0] == {"line": 2, "ref": "contact/0", "change": "created"}
    bad = [one for one in told if "because" in one]
    assert [(one["line"], one["field"]) for one in bad] == [(8, "email"), (901, "module")]
    assert "nowhere" in bad[1]["because"]
    assert sums == {"created": 1198, "updated": 0, "unchanged": 0, "bad": 2}
    page = (await admin.get(f"{V1}/records/contact?limit=1000")).json
    assert len(page["items"]) == 1000
    assert len((await admin.get(f"{V1}/records/contact?limit=1000&after={page['next']}")).json["items"]) == 198


async def test_bulk_takes_ndjson_and_refuses_what_it_cannot_read(admin: Client) -> None:
    row = {"module": "lead", "id": "1", "name": "Ann", "email": "ann@x.example"}
    path = f"{V1}/records/bulk"
    answer = await admin.post(path, data=json.dumps(row), headers={"Content-Type": "application/x-ndjson"})
    assert answer.lines == [
        {"line": 1, "ref": "lead/1", "change": "created"},
        {"created": 1, "updated": 0, "unchanged": 0, "bad": 0},
    ]
    assert (await admin.post(path, data="x", headers={"Content-Type": "text/plain"})).status == 415
    header = await admin.post(path, data="a,a\n1,2\n", headers={"Content-Type": "text/csv"})
    assert header.status == 422


async def test_suppressions_are_added_searched_and_lifted(admin: Client) -> None:
    path = f"{V1}/suppressions"
    added = await admin.post(path, json={"address": "Bob@customer.example", "evidence": "asked by phone"})
    assert [one["key"] for one in added.json] == ["bob@customer.example"]
    assert (await admin.post(path, json={"address": "bob@customer.example", "reason": "opted_out"})).status == 201
    assert (await admin.post(path, json={"address": "eve@customer.example"})).status == 201
    first = (await admin.get(f"{path}?search=BOB&limit=1")).json
    second = (await admin.get(path, params={"search": "BOB", "limit": "1", "after": first["next"]})).json
    assert [one["reason"] for one in (*first["items"], *second["items"])] == ["by_hand", "opted_out"]
    assert [one["reason"] for one in (await admin.delete(f"{path}/bob@customer.example?reason=by_hand")).json] == [
        "by_hand"
    ]
    assert len((await admin.delete(f"{path}/bob@customer.example")).json) == 1
    assert (await admin.delete(f"{path}/bob@customer.example")).status == 404
    assert len((await admin.get(f"{path}/bob@customer.example")).json["items"]) == 2
    assert (await admin.get(f"{path}?after=nonsense")).status == 422


async def test_exclusions_are_addresses_or_domains(admin: Client) -> None:
    assert (await admin.put(f"{V1}/exclusions/Partner.example")).json == {"kind": "domain", "value": "partner.example"}
    assert (await admin.put(f"{V1}/exclusions/Boss@home.example")).json["kind"] == "address"
    assert (await admin.put(f"{V1}/exclusions/a@@b")).status == 422
    assert [one["value"] for one in (await admin.get(f"{V1}/exclusions")).json["items"]] == [
        "boss@home.example",
        "partner.example",
    ]
    assert (await admin.delete(f"{V1}/exclusions/partner.example")).status == 204
    assert len((await admin.get(f"{V1}/exclusions")).json["items"]) == 1


async def test_settings_change_one_by_one(admin: Client) -> None:
    changed = await admin.patch(f"{V1}/organisation", json={"settings": {"sender_check": "authenticated"}})
    assert changed.json["settings"]["sender_check"] == "authenticated"
    assert changed.json["settings"]["alternates_limit"] == 5
    wrong = await admin.patch(f"{V1}/organisation", json={"time_zone": "Mars/Base", "settings": {"sender_check": "x"}})
    assert {one["field"] for one in wrong.json["errors"]} == {"time_zone", "settings.sender_check"}


async def test_the_installations_own_domains_are_for_its_operator_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        org = await factory.org(api.store, api.clock, domains=("example.org",))
        _, secret = await factory.api_token(api.store, api.clock, org, Right.ADMIN)
        admin = api.web.bearing(secret)
        for domain in ("inbound.localhost", "INBOUND.localhost", "bounce.localhost"):
            refused = await admin.put(f"{V1}/domains/{domain}")
            assert refused.status == 403, domain
            assert (await admin.post(f"{V1}/domains/{domain}/keys")).status == 404
        assert (await api.local.put(f"{V1}/domains/inbound.localhost")).status == 200


async def test_a_domain_gets_keys_and_proves_itself_by_dns(tmp_path: Path) -> None:
    records: dict[tuple[str, str], str | bytes] = {}
    async with serving(tmp_path) as plain:
        org = await factory.org(plain.store, plain.clock, domains=())
        assert org.domains == ()
        added = (await plain.local.put(f"{V1}/domains/Example.net")).json
        assert added["domain"] == "example.net"
        assert sorted(key["algorithm"] for key in added["keys"]) == ["ed25519-sha256", "rsa-sha256"]
        assert all(
            key["dns_line"].startswith(f"{key['selector']}._domainkey.example.net. IN TXT") for key in added["keys"]
        )
        assert "PRIVATE" not in json.dumps(added)
        assert (await plain.local.put(f"{V1}/domains/example.net")).json == added
        missing = (await plain.local.post(f"{V1}/domains/example.net/proof")).json
        assert missing["proved"] is False
        records |= {("TXT", key["dns_name"]): key["dns_text"].encode() for key in added["keys"]}
        resolver = ZoneResolver(Zone(dict(records)))
        object.__setattr__(plain.application, "resolver", resolver)
        found = (await plain.local.post(f"{V1}/domains/example.net/proof")).json
        assert found["proved"] is True
        assert {check["what"] for check in found["checks"]} == {"DKIM", "SPF", "DMARC"}
        assert (await plain.local.get(f"{V1}/domains/example.net")).json["proved_at"]
        plain.clock.advance(timedelta(days=40))
        newer = (await plain.local.post(f"{V1}/domains/example.net/keys")).json
        assert {key["active_from"][:10] for key in newer} == {
            (plain.clock.now() + timedelta(days=2)).date().isoformat()
        }
        assert (await plain.local.post(f"{V1}/domains/example.net/keys")).status == 409
        assert (await plain.local.delete(f"{V1}/domains/example.net/keys/{newer[0]['selector']}")).status == 204
        assert (await plain.local.delete(f"{V1}/domains/example.net")).status == 204
        assert (await plain.local.get(f"{V1}/domains/example.net")).status == 404


async def test_the_journal_is_read_from_a_cursor(admin: Client) -> None:
    for number in range(3):
        await admin.post(f"{V1}/suppressions", json={"address": f"b{number}@customer.example"})
    everything = (await admin.get(f"{V1}/events")).json["items"]
    assert [one["type"] for one in everything] == ["address.suppressed"] * 3
    rest = (await admin.get(f"{V1}/events?after={everything[0]['seq']}&limit=1")).json["items"]
    assert rest == [everything[1]]
    assert (await admin.get(f"{V1}/events?after={everything[-1]['seq']}")).json["items"] == []
