"""One builder for each thing that tests need in a store; whatever is not said is plausible and told apart by a number.

async with open_store(tmp_path) as store:
    org = await factory.org(store, clock, domains=("example.com",))
    anna = await factory.user(store, clock, org, "anna@example.com")
    box = await factory.dropbox(store, clock, anna)
    contact = await factory.record(store, clock, org, "contact/1", addresses=("bob@customer.test",), owner=anna)
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from mailrelay.clock import Clock
from mailrelay.ids import IdFactory, hash_secret, new_api_secret, new_dropbox_token
from mailrelay.model.organisation import (
    ApiToken,
    Dropbox,
    Organisation,
    OrganisationAddress,
    Right,
    Role,
    SharedSettings,
    User,
)
from mailrelay.model.record import (
    AddressField,
    AddressKind,
    FilingAddress,
    Module,
    Record,
    RecordAddress,
    RecordLink,
    RecordRef,
)
from mailrelay.model.settings import OrganisationSettings, UserSettings
from mailrelay.smtp.address import parse_address
from mailrelay.store import (
    dropboxes,
    filing_addresses,
    modules,
    organisation_addresses,
    organisations,
    people,
    records,
    schema,
    tokens,
)
from mailrelay.store.base import Store
from mailrelay.store.sqlite import SqliteStore

_number = itertools.count(1)


@asynccontextmanager
async def open_store(folder: Path) -> AsyncIterator[SqliteStore]:
    """A new embedded store in `folder`, with the schema, closed at the end."""
    (folder / "mailrelay.db").write_bytes(await _empty_database())
    store = SqliteStore(folder / "mailrelay.db")
    try:
        yield store
    finally:
        await store.close()


_empty: list[bytes] = []


async def _empty_database() -> bytes:
    """A database with the schema and no rows, made once for each process: a migration takes longer than most tests."""
    if not _empty:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "mailrelay.db"
            store = SqliteStore(path)
            try:
                schema.migrate(store.engine)
            finally:
                await store.close()  # the last connection writes the log back: the file is whole
            _empty.append(path.read_bytes())
    return _empty[0]


def ids(clock: Clock) -> IdFactory:
    """A factory of ids at the test's time."""
    return IdFactory(clock.now)


async def org(
    store: Store,
    clock: Clock,
    *,
    name: str = "Example Ltd",
    domains: tuple[str, ...] | None = None,
    time_zone: str = "UTC",
    settings: OrganisationSettings | None = None,
) -> Organisation:
    """A stored organisation; by default with a domain of its own, `orgN.example`."""
    new = Organisation(
        id=ids(clock).org(),
        name=name,
        time_zone=time_zone,
        domains=(f"org{next(_number)}.example",) if domains is None else domains,
        settings=settings or OrganisationSettings(),
    )
    await store.write(organisations.create, new, now=clock.now())
    return new


async def user(
    store: Store,
    clock: Clock,
    owner: Organisation,
    primary: str | None = None,
    *,
    alternates: tuple[str, ...] = (),
    name: str = "",
    role: Role = Role.USER,
    active: bool = True,
    settings: UserSettings | None = None,
    password: str | None = None,
) -> User:
    """A stored user, by default `userN` at the organisation's first domain; `password` is the stored, hashed form."""
    address = parse_address(primary or f"user{next(_number)}@{owner.domains[0]}")
    new = User(
        id=ids(clock).user(),
        org=owner.id,
        name=name or address.local.capitalize(),
        role=role,
        active=active,
        primary=address,
        alternates=tuple(parse_address(text) for text in alternates),
        settings=settings or UserSettings(),
    )
    await store.write(people.create, new, now=clock.now())
    if password is not None:
        await store.write(people.set_password, new.org, new.id, password)
    return new


async def dropbox(store: Store, clock: Clock, owner: User, *, token: str | None = None) -> Dropbox:
    """A stored dropbox of a user who has none."""
    new = Dropbox(
        id=ids(clock).dropbox(),
        org=owner.org,
        user=owner.id,
        token=token or new_dropbox_token(),
        created_at=clock.now(),
        valid_until=None,
        last_used_at=None,
    )
    await store.write(dropboxes.make, new)
    return new


async def api_token(
    store: Store, clock: Clock, owner: Organisation, *rights: Right, on_behalf_of: User | None = None
) -> tuple[ApiToken, str]:
    """A stored API token, an administrator's when no right is named, and its secret."""
    secret = new_api_secret()
    new = ApiToken(
        id=ids(clock).token(),
        org=owner.id,
        name="test",
        rights=frozenset(rights or (Right.ADMIN,)),
        user=None if on_behalf_of is None else on_behalf_of.id,
        created_at=clock.now(),
        revoked_at=None,
    )
    await store.write(tokens.create, new, secret_sha256=hash_secret(secret))
    return new, secret


async def module(
    store: Store, owner: Organisation, name: str, *address_fields: str, matched: bool = True, label: str = ""
) -> Module:
    """A stored custom module whose address fields are all of kind custom."""
    new = Module(
        org=owner.id,
        name=name,
        label=label or name.capitalize(),
        custom=True,
        address_fields=tuple(
            AddressField(name=field, kind=AddressKind.CUSTOM, matched=matched) for field in address_fields
        ),
    )
    await store.write(modules.put, new)
    return new


def ref(text: str) -> RecordRef:
    """`contact/17` as a RecordRef."""
    module_name, _, record_id = text.partition("/")
    return RecordRef(module_name, record_id)


def address(text: str, field: str = "email") -> RecordAddress:
    """A record's address in a field; of a standard module unless `field` is something else."""
    kinds = {"email": AddressKind.PRIMARY, "secondary_email": AddressKind.SECONDARY}
    return RecordAddress(address=parse_address(text), kind=kinds.get(field, AddressKind.CUSTOM), field=field)


def a_record(
    clock: Clock,
    owner_org: Organisation,
    place: str,
    *,
    name: str = "",
    addresses: tuple[str | RecordAddress, ...] = (),
    owner: User | None = None,
    links: Mapping[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
    source: str = "api",
) -> Record:
    """A record that is not stored yet; plain texts are primary addresses, `links` are role → `module/id`."""
    return Record(
        org=owner_org.id,
        ref=ref(place),
        name=name or place,
        owner=None if owner is None else owner.id,
        addresses=tuple(address(one) if isinstance(one, str) else one for one in addresses),
        links=tuple(RecordLink(role=role, to=ref(to)) for role, to in (links or {}).items()),
        fields=tuple(sorted((fields or {}).items())),
        source=source,
        created_at=clock.now(),
        updated_at=clock.now(),
    )


async def record(
    store: Store,
    clock: Clock,
    owner_org: Organisation,
    place: str,
    *,
    name: str = "",
    addresses: tuple[str | RecordAddress, ...] = (),
    owner: User | None = None,
    links: Mapping[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
    source: str = "api",
) -> Record:
    """A stored record, see `a_record`."""
    new = a_record(
        clock,
        owner_org,
        place,
        name=name,
        addresses=addresses,
        owner=owner,
        links=links,
        fields=fields,
        source=source,
    )
    await store.write(records.upsert, new)
    return new


async def record_address(
    store: Store, clock: Clock, owner: Organisation, place: str, *, until: datetime | None = None
) -> FilingAddress:
    """The stored signed address of a record (I21)."""
    new = FilingAddress(
        org=owner.id, number=0, record=ref(place), until=until, created_at=clock.now(), created_by="test"
    )
    return await store.write(filing_addresses.make, new)


async def organisation_address(
    store: Store, clock: Clock, owner: Organisation, address: str, *, name: str = "", **settings: Any
) -> OrganisationAddress:
    """A stored shared address (I13); `settings` are those of `SharedSettings`."""
    new = OrganisationAddress(
        id=ids(clock).organisation_address(),
        org=owner.id,
        address=parse_address(address),
        name=name,
        settings=SharedSettings(**settings),
        created_at=clock.now(),
        created_by="test",
    )
    await store.write(organisation_addresses.make, new)
    return new
