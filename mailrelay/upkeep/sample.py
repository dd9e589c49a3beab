"""The sample organisation: three people, a dozen records, a dropbox, keys and a token, so that a first mail has somewhere to go.

It is made once, in a store without any organisation. Its secrets are kept in `sample.json` in the data folder, which only the
daemon's own user can read, so that a later start can print them again: those of them that hold by then.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from mailrelay.clock import Clock
from mailrelay.config.schema import Config
from mailrelay.ids import IdFactory, OrgId, UserId, hash_secret, new_api_secret, new_dropbox_token
from mailrelay.inbound.passwords import hash_password, verify_password
from mailrelay.model.organisation import ApiToken, Dropbox, Organisation, Right, Role, User
from mailrelay.model.record import AddressField, AddressKind, Module, Record, RecordAddress, RecordLink, RecordRef
from mailrelay.model.settings import OrganisationSettings, UserSettings
from mailrelay.smtp.address import parse_address
from mailrelay.store import dropboxes, modules, organisations, people, records, tokens
from mailrelay.store.base import Store, Tx
from mailrelay.store.dkim_keys import DkimKey
from mailrelay.upkeep import signing

NAME = "Sample Ltd"
DOMAIN = "example.org"
_FILE = "sample.json"
_CUSTOMER = "contact/1"
_MODULES = ("contact", "lead", "account", "vendor", "site")

# RFC 2606 §3: names that nobody can own.
_RECORDS: tuple[tuple[str, str, dict[str, str], dict[str, str], dict[str, str]], ...] = (
    ("account/1", "Bluebird Bakery", {"email": "office@bluebird.example"}, {}, {"city": "Leipzig"}),
    ("account/2", "Harbour Tools", {"email": "info@harbour.example"}, {}, {"city": "Cork"}),
    ("contact/1", "Bob Baker", {"email": "bob@bluebird.example"}, {"account": "account/1"}, {"title": "Owner"}),
    (
        "contact/2",
        "Dora Fell",
        {"email": "dora@bluebird.example", "secondary_email": "dora.fell@mail.example"},
        {"account": "account/1"},
        {"title": "Purchasing"},
    ),
    ("contact/3", "Emil Hook", {"email": "emil@harbour.example"}, {"account": "account/2"}, {"title": "Director"}),
    ("contact/4", "Fay Keel", {"email": "fay@harbour.example"}, {"account": "account/2"}, {"title": "Accounts"}),
    ("lead/1", "Gus Lane", {"email": "gus@lane.example"}, {}, {"source": "fair"}),
    ("lead/2", "Hana Mori", {"email": "hana@mori.example"}, {}, {"source": "web"}),
    ("lead/3", "Ivo North", {"email": "ivo@north.example"}, {}, {"source": "call"}),
    ("deal/1", "Two ovens for Bluebird", {}, {"contact": "contact/1"}, {"stage": "Proposal", "amount": "18000"}),
    ("deal/2", "Drill presses", {}, {"contact": "contact/3"}, {"stage": "Closed won", "amount": "7400"}),
    ("site/1", "Bluebird, Mill Lane", {"caretaker_email": "mill-lane@keys.example"}, {"account": "account/1"}, {}),
    ("site/2", "Harbour, Quay 4", {"caretaker_email": "quay4@keys.example"}, {"account": "account/2"}, {}),
)
"""Place, name, addresses by field, links by role, other fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What to know of the sample organisation: one user with their dropbox, what they submit with, and the token.

    `dropbox`, `password` and `token` are "" once the user has no dropbox, or a password or token that we do not know.
    """

    organisation: str
    user: str
    dropbox: str
    customer: str
    """The address of a contact that the user writes to."""
    record: str = _CUSTOMER
    """That contact, "" once it is forgotten."""
    alone: bool = True
    """Whether there is no other organisation, so that commands need not name this one."""
    password: str = field(repr=False)
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """All that is written, in one transaction."""

    organisation: Organisation
    users: tuple[User, ...]
    dropbox: Dropbox
    stored_password: str = field(repr=False)
    module: Module
    records: tuple[Record, ...]
    token: ApiToken
    keys: tuple[DkimKey, ...]


async def make(store: Store, clock: Clock, ids: IdFactory, config: Config) -> Sample | None:
    """The sample organisation: made now, or as it stands today; None where the store has another one."""
    path = config.data / _FILE
    known = await store.read(organisations.list_organisations)
    if known:
        kept = await asyncio.to_thread(_read, path, {one.id for one in known})
        return None if kept is None else await _today(store, clock, config, kept, alone=len(known) == 1)
    # Hexadecimal: a password that begins with a hyphen is taken for an option where the printed commands are pasted.
    password, secret = secrets.token_hex(10), new_api_secret()
    plan = await _plan(clock, ids, config, password=password)
    sample = Sample(
        organisation=plan.organisation.id,
        user=str(plan.users[1].primary),
        dropbox=_address(plan.dropbox, config),
        customer="bob@bluebird.example",
        record=_CUSTOMER,
        alone=True,
        password=password,
        token=secret,
    )
    # The file first: an organisation whose secrets nobody knows would be of no use.
    await asyncio.to_thread(_write, path, sample)
    made = await store.write(_keep, plan, clock, hash_secret(secret))
    return sample if made else None


async def _today(store: Store, clock: Clock, config: Config, kept: Sample, *, alone: bool) -> Sample | None:
    """What holds of it now: the dropbox of today, and those secrets that were not replaced. None when its user is gone."""
    org = OrgId(kept.organisation)
    logins = await store.read(people.by_address, parse_address(kept.user).key)
    login = next((one for one in logins if one.user.org == org), None)
    if login is None:
        return None
    boxes = await store.read(dropboxes.of_user, org, login.user.id)
    standing = next((box for box in boxes if box.valid_until is None), None)
    token = await store.read(tokens.by_secret, hash_secret(kept.token), now=clock.now())
    same = await asyncio.to_thread(
        verify_password, kept.password, login.password, rounds=config.submission.password_rounds
    )
    shown = await store.read(records.get_many, org, [_ref(_CUSTOMER)])
    return replace(
        kept,
        alone=alone,
        record=_CUSTOMER if shown else "",
        dropbox="" if standing is None else _address(standing, config),
        password=kept.password if same else "",
        token="" if token is None else kept.token,
    )


def _address(box: Dropbox, config: Config) -> str:
    return f"bcc-{box.token}@{config.inbound.domains[0]}"


async def _plan(clock: Clock, ids: IdFactory, config: Config, *, password: str) -> _Plan:
    now = clock.now()
    org = ids.org()
    users = tuple(
        User(
            id=ids.user(),
            org=org,
            name=name,
            role=role,
            active=True,
            primary=parse_address(f"{local}@{DOMAIN}"),
            alternates=tuple(parse_address(one) for one in alternates),
            settings=UserSettings(modules=_MODULES),
        )
        for name, local, role, alternates in (
            ("Ada Admin", "ada", Role.ADMINISTRATOR, ()),
            ("Ben Sample", "ben", Role.USER, ()),
            ("Cleo Sample", "cleo", Role.USER, (f"c.sample@{DOMAIN}", "cleo@home.example")),
        )
    )
    field_ = AddressField(name="caretaker_email", kind=AddressKind.CUSTOM, matched=True)
    return _Plan(
        organisation=Organisation(
            id=org, name=NAME, time_zone="UTC", domains=(DOMAIN,), settings=OrganisationSettings()
        ),
        users=users,
        dropbox=Dropbox(
            id=ids.dropbox(),
            org=org,
            user=users[1].id,
            token=new_dropbox_token(),
            created_at=now,
            valid_until=None,
            last_used_at=None,
        ),
        stored_password=await asyncio.to_thread(hash_password, password, rounds=config.submission.password_rounds),
        module=Module(org=org, name="site", label="Sites", custom=True, address_fields=(field_,)),
        records=tuple(_record(clock, org, users[1].id, *given) for given in _RECORDS),
        token=ApiToken(
            id=ids.token(),
            org=org,
            name="sample administrator",
            rights=frozenset(Right),
            user=None,
            created_at=now,
            revoked_at=None,
        ),
        keys=await signing.generate(
            DOMAIN, day=now.date(), now=now, active_from=now, prefix=config.dkim.selector_prefix
        ),
    )


def _record(
    clock: Clock,
    org: OrgId,
    owner: UserId,
    place: str,
    name: str,
    addresses: dict[str, str],
    links: dict[str, str],
    fields: dict[str, str],
) -> Record:
    kinds = {"email": AddressKind.PRIMARY, "secondary_email": AddressKind.SECONDARY}
    return Record(
        org=org,
        ref=_ref(place),
        name=name,
        owner=owner,
        addresses=tuple(
            RecordAddress(address=parse_address(text), kind=kinds.get(where, AddressKind.CUSTOM), field=where)
            for where, text in addresses.items()
        ),
        links=tuple(RecordLink(role=role, to=_ref(to)) for role, to in links.items()),
        fields=tuple(fields.items()),
        source="api",
        created_at=clock.now(),
        updated_at=clock.now(),
    )


def _ref(place: str) -> RecordRef:
    module, _, number = place.partition("/")
    return RecordRef(module, number)


def _keep(tx: Tx, plan: _Plan, clock: Clock, secret_sha256: str) -> bool:
    """All of it or nothing; False when an organisation came meanwhile."""
    if organisations.list_organisations(tx):
        return False
    now = clock.now()
    organisations.create(tx, plan.organisation, now=now)
    modules.put(tx, plan.module)
    for user in plan.users:
        people.create(tx, user, now=now)
    people.set_password(tx, plan.organisation.id, plan.users[1].id, plan.stored_password)
    dropboxes.make(tx, plan.dropbox)
    records.upsert_many(tx, plan.records)
    tokens.create(tx, plan.token, secret_sha256=secret_sha256)
    signing.keep(tx, plan.keys)
    return True


def _write(path: Path, sample: Sample) -> None:
    temporary = path.with_suffix(".new")
    with os.fdopen(os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as file:
        json.dump(asdict(sample), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _read(path: Path, organisations_there: set[OrgId]) -> Sample | None:
    try:
        sample = Sample(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return sample if sample.organisation in organisations_there else None
