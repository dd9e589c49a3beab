"""People, dropboxes, records, domains, tokens and settings, kept by commands (I1, I2, I21, R7)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import structlog

from mailrelay.inbound.passwords import verify_password
from mailrelay.store import people
from tests.support import factory
from tests.support.cli import Cli
from tests.support.http import Api, serving

ANNA = "anna@example.org"


@pytest.fixture
async def cli(api: Api) -> Cli:
    return Cli(api.server.unix_socket)


@pytest.fixture
async def house(api: Api, cli: Cli) -> Cli:
    """An organisation with Anna in it."""
    org = await factory.org(api.store, api.clock, domains=("example.org",))
    await factory.user(api.store, api.clock, org, ANNA)
    return cli


async def test_an_empty_installation_says_what_to_do_first(cli: Cli) -> None:
    assert (await cli("organisation", "list")).out == (
        "No organisation yet. Add one with `mailrelay organisation add NAME`.\n"
    )
    said = await cli("user", "list")
    assert said.status == 66
    assert said.error.endswith("make one with `mailrelay organisation add`\n")
    await cli.json("organisation", "add", "New")
    for command, hint in (
        (("user", "list"), "mailrelay user add"),
        (("domain", "list"), "inbound.localhost"),
        (("token", "list"), "mailrelay token make"),
        (("record", "list", "contact"), "mailrelay record import"),
        (("message", "list"), "mailrelay dropbox make"),
        (("queue", "list"), "Nothing is on its way out"),
        (("queue", "list", "--all"), "mailrelay message send"),
        (("suppression", "list"), "No address is suppressed"),
        (("unresolved", "list"), "Nothing waits"),
        (("event", "list", "--after", "1"), "Nothing happened after 1"),
    ):
        said = await cli(*command)
        assert said.status == 0, said
        assert hint in said.out, command


async def test_among_several_organisations_one_is_named(house: Cli) -> None:
    other = await house.json("organisation", "add", "Otherwise Ltd")
    said = await house("user", "list")
    assert said.status == 65
    assert "Otherwise Ltd" in said.error
    assert (await house.json("user", "list", "--organisation", "Otherwise Ltd"))["items"] == []
    assert (await house.json("user", "list", "--organisation", other["id"]))["items"] == []
    said = await house("user", "list", "--organisation", "Жук\n")
    assert (said.status, said.error.count("\n")) == (65, 1)


async def test_a_user_is_added_changed_and_shown(house: Cli) -> None:
    made = await house.json(
        *("user", "add", "--name", "Ünsal Öz", "--address", "u@example.org", "--alternate", "oz@home.example")
    )
    assert made["alternates"] == ["oz@home.example"]
    assert "Ünsal Öz" in (await house("user", "list")).out
    changed = await house.json(
        *("user", "change", "u@example.org", "--alternate", "none", "--unknown", "contact", "--inactive"),
        *("--module", "account", "--module", "contact", "--notice", "wrote", "--notice", "replied"),
    )
    assert changed["alternates"] == []
    assert not changed["active"]
    assert changed["settings"] == {
        "modules": ["account", "contact"],
        "unknown": "contact",
        "time_zone": "",
        "notices": ["wrote", "replied"],
    }
    assert "become contact" in (await house("user", "show", made["id"])).out
    wrong = await house("user", "add", "--name", "X", "--address", "nobody")
    assert wrong.status == 65
    assert wrong.error.startswith("mailrelay: primary: ")


@pytest.mark.parametrize("way", ["option", "stdin"])
async def test_a_password_is_set_and_taken_away(api: Api, house: Cli, way: str) -> None:
    secret = "correct horse battery"
    given = ("--password", secret) if way == "option" else ()
    said = await house("user", "password", ANNA, *given, stdin=f"{secret}\n" if way == "stdin" else None)
    assert said.status == 0, said
    assert secret not in said.out + said.error
    (login,) = await api.store.read(people.by_address, ANNA)
    rounds = api.application.config.submission.password_rounds
    assert verify_password(secret, login.password, rounds=rounds)
    assert (await house("user", "password", ANNA, "--none")).status == 0
    (login,) = await api.store.read(people.by_address, ANNA)
    assert login.password is None
    assert (await house("user", "password", ANNA, "--password", "short")).status == 65
    assert (await house("user", "password", ANNA, "--password", secret, "--none")).status == 2


async def test_a_dropbox_is_made_regenerated_and_disabled(house: Cli) -> None:
    assert f"mailrelay dropbox make {ANNA}" in (await house("dropbox", "show", ANNA)).out
    first = (await house.json("dropbox", "make", ANNA))["address"]
    assert re.fullmatch(r"bcc-[a-z2-7]{26}@inbound\.localhost", first)
    twice = await house("dropbox", "make", ANNA)
    assert twice.status == 65
    assert "regenerate it instead" in twice.error
    card = (await house("dropbox", "vcard", ANNA)).out
    assert card.startswith("BEGIN:VCARD")
    assert first in card.replace("\r\n ", "")
    second = (await house.json("dropbox", "regenerate", ANNA, "--overlap", "7d"))["address"]
    shown = await house.json("dropbox", "show", ANNA)
    assert {one["address"]: one["valid_until"] is None for one in shown} == {second: True, first: False}
    await house.json("dropbox", "disable", ANNA)
    assert all(one["valid_until"] for one in await house.json("dropbox", "show", ANNA))
    assert (await house("dropbox", "vcard", ANNA)).status == 66


async def test_a_bad_line_is_told_with_its_number_and_the_good_ones_are_in(house: Cli, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("module,id,name,email\ncontact,1,Bob,bob@a.example\ncontact,2,Eve,nothing\n,3,Nobody,\n")
    said = await house("record", "import", str(file))
    assert said.status == 65
    assert said.out == "1 created, 0 updated, 0 unchanged, 2 left out\n"
    assert [line.partition(":")[0] for line in sorted(said.error.splitlines())] == ["line 3", "line 4"]
    assert "bob@a.example" in (await house("record", "list", "contact")).out
    shown = await house("record", "show", "contact/1")
    assert "No mail on it yet." in shown.out
    assert (await house("record", "show", "contact/2")).status == 66
    assert (await house("record", "show", "17")).status == 2

    lines = tmp_path / "people.ndjson"
    lines.write_text('{"module": "contact", "id": "1", "name": "Robert", "email": "bob@a.example"}\n')
    assert (await house.json("record", "import", str(lines)))["updated"] == 1
    assert (await house.json("record", "remove", "contact/1"))["removed"]


@pytest.mark.parametrize(
    ("name", "content", "status", "because"),
    [
        ("a.csv", None, 66, "a.csv: cannot be read: No such file or directory"),
        ("a.xlsx", b"", 2, "name it .csv or .ndjson"),
        ("a.csv", b"", 65, "line 1: the file is empty; its first line must name the columns"),
        ("a.csv", b"id,name\n1,x\n", 65, "line 1: there is no column module"),
        ("a.csv", "module,id,name\n".encode("utf-16"), 65, "line 1: the file is UTF-16; save it as UTF-8"),
    ],
    ids=["missing", "kind", "empty", "column", "utf-16"],
)
async def test_a_file_that_cannot_be_imported_is_told_in_one_line(
    house: Cli, tmp_path: Path, name: str, content: bytes | None, status: int, because: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    said = await house("record", "import", str(tmp_path / name))
    assert said.status == status
    assert because in said.error


async def test_a_file_over_the_limit_is_refused_while_it_is_sent(tmp_path: Path) -> None:
    with structlog.testing.capture_logs():
        async with serving(tmp_path, max_body=1000) as api:
            await factory.org(api.store, api.clock)
            (tmp_path / "big.csv").write_text("module,id,name\n" + "contact,1,Bob\n" * 200_000)
            said = await Cli(api.server.unix_socket)("record", "import", str(tmp_path / "big.csv"))
    assert said.status == 65
    assert said.error == "mailrelay: The request's body is over 1000 bytes\n"


async def test_a_domain_is_added_with_its_keys_and_the_lines_to_publish(house: Cli) -> None:
    added = await house.json("domain", "add", "new.example")
    lines = (await house("domain", "dns", "new.example")).out.splitlines()
    assert lines == [key["dns_line"] for key in added["keys"]]
    assert {key["algorithm"] for key in added["keys"]} == {"rsa-sha256", "ed25519-sha256"}
    assert "is not proved" in (await house("domain", "prove", "new.example")).out
    for key in added["keys"]:
        await house.json("domain", "key", "new.example", "--retire", key["selector"])
    assert "mailrelay domain key new.example" in (await house("domain", "dns", "new.example")).out
    await house.json("domain", "remove", "new.example")
    assert (await house("domain", "dns", "new.example")).status == 66


async def test_a_token_is_shown_once_and_revoked(api: Api, house: Cli) -> None:
    secret = (await house("token", "make", "our CRM", "--may", "read")).out.strip()
    assert (await api.web.bearing(secret).get("/api/v1/users")).status == 200
    listed = await house("token", "list")
    assert secret not in listed.out
    (token,) = await house.json("token", "list")
    await house.json("token", "revoke", token["id"])
    assert (await api.web.bearing(secret).get("/api/v1/users")).status == 401


async def test_settings_of_the_organisation_are_set_by_name(house: Cli) -> None:
    changed = await house.json("organisation", "set", "sender_check=authenticated", "file_internal=true")
    assert changed["settings"]["sender_check"] == "authenticated"
    assert changed["settings"]["file_internal"] is True
    wrong = await house("organisation", "set", "sender_check=perhaps")
    assert wrong.status == 65
    assert wrong.error.startswith("mailrelay: settings.sender_check: ")
    assert (await house("organisation", "set", "sender_check")).status == 65


async def test_a_custom_module_is_added_with_its_address_fields(house: Cli) -> None:
    made = await house.json("module", "add", "tenant", "Tenants", "--field", "mail")
    assert made["custom"]
    assert "tenant" in (await house("module", "list")).out


async def test_addresses_and_domains_are_excluded_and_readmitted(house: Cli) -> None:
    assert "mailrelay exclusion add" in (await house("exclusion", "list")).out
    assert (await house("exclusion", "add", "NEWS.example")).out == "The domain news.example is excluded.\n"
    await house.json("exclusion", "add", "bot@customer.example")
    assert len(await house.json("exclusion", "list")) == 2
    await house.json("exclusion", "remove", "news.example")
    assert [one["kind"] for one in await house.json("exclusion", "list")] == ["address"]
    assert (await house("exclusion", "add", "not a domain")).status == 65


async def test_long_lists_are_read_page_by_page(api: Api, house: Cli, tmp_path: Path) -> None:
    rows = "".join(f"contact,{number:05},Person {number}\n" for number in range(1200))
    (tmp_path / "many.csv").write_text("module,id,name\n" + rows)
    assert (await house.json("record", "import", str(tmp_path / "many.csv")))["created"] == 1200
    listed = await house.json("record", "list", "contact", "--limit", "1100")
    assert [one["ref"] for one in listed["items"]] == [f"contact/{number:05}" for number in range(1100)]
    assert listed["next"]
    assert (await house.json("record", "list", "contact", "--limit", "5000"))["next"] is None
