"""Mail that was sent with a pixel and links: what the public door and the store of hits are tried with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from mailrelay.clock import Clock, to_micros
from mailrelay.ids import DeliveryId, IdFactory
from mailrelay.model.delivery import DeliveryState
from mailrelay.model.hit import HitKind, RawHit
from mailrelay.model.organisation import Organisation, User
from mailrelay.model.settings import OrganisationSettings
from mailrelay.model.tracking import Mode, Tracked
from mailrelay.store.base import Store, Tx
from mailrelay.store.tables import consent, delivery
from mailrelay.tracking.token import Keys, Kind, Token, make
from tests.support import factory

BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:146.0) Gecko/20100101 Firefox/146.0"
TARGET = "https://shop.example/offer?id=7&x=%20y#part"
HOST = "127.0.0.1"


@dataclass(frozen=True)
class House:
    """An organisation that tracks, and whose mail it sends."""

    org: Organisation
    user: User


async def house(store: Store, clock: Clock, **settings: object) -> House:
    """An organisation in mode individual unless `settings` say otherwise, with a user."""
    given = OrganisationSettings(**{"tracking": Mode.INDIVIDUAL, **settings})  # type: ignore[arg-type]
    org = await factory.org(store, clock, settings=given)
    return House(org, await factory.user(store, clock, org))


async def sent(
    store: Store,
    clock: Clock,
    whose: House,
    recipient: str = "bob@customer.test",
    *,
    agreed: bool | None = True,
    tracking: str = "",
    ago: timedelta = timedelta(hours=1),
    number: int = 1,
    of_one_message: int = 1_000,
) -> list[DeliveryId]:
    """Stored deliveries to one recipient that went out a while `ago`; `agreed` is what they said to it, None nothing."""
    ids, at = IdFactory(clock.now), to_micros(clock.now() - ago)
    made = [ids.delivery() for _ in range(number)]
    messages = [ids.message() for _ in range(0, number, of_one_message)]

    def write(tx: Tx) -> None:
        values = {
            "org": whose.org.id,
            "queue_id": ids.queue(),
            "channel": "api",
            "mail_from": str(whose.user.primary),
            "params": {},
            "recipient": {"address": {"local": recipient.partition("@")[0], "domain": recipient.partition("@")[2]}},
            "recipient_key": recipient,
            "destination": recipient.partition("@")[2],
            "state": DeliveryState.SENT,
            "digest": "0" * 64,
            "size": 10,
            "created_at": at,
            "due_at": at,
            "expires_at": at,
            "ended_at": at,
            "author": whose.user.id,
            "tracking": tracking,
            "tracked": Tracked.LINKS,
        }
        rows = [{"id": one, "message": messages[at // of_one_message], **values} for at, one in enumerate(made)]
        tx.execute(delivery.insert(), rows)
        if agreed is not None:
            said = {
                "org": whose.org.id,
                "key": recipient,
                "at": at,
                "given": agreed,
                "by": "test",
                "evidence": "a form",
            }
            tx.execute(tx.insert(consent).values(said).on_conflict_do_nothing())

    await store.write(write)
    return made


async def say(store: Store, clock: Clock, whose: House, recipient: str, *, agreed: bool) -> None:
    """The recipient agrees, or withdraws, now."""
    said = {"org": whose.org.id, "key": recipient, "at": to_micros(clock.now()), "given": agreed}
    await store.write(lambda tx: tx.execute(consent.insert().values(**said, by="test", evidence="a form")).rowcount)


def pixel(keys: Keys, of: DeliveryId, host: str = HOST) -> str:
    """The path of its pixel."""
    return f"/o/{make(Token(Kind.OPEN, of), keys, host)}.gif"


def link(keys: Keys, of: DeliveryId, number: int = 1, target: str = TARGET, host: str = HOST) -> str:
    """The path of one of its links."""
    return f"/c/{make(Token(Kind.CLICK, of, number, target), keys, host)}"


def decoy(keys: Keys, of: DeliveryId, host: str = HOST) -> str:
    """The path of its hidden link."""
    return f"/c/{make(Token(Kind.DECOY, of), keys, host)}"


def a_hit(clock: Clock, of: DeliveryId, kind: HitKind = HitKind.OPEN, **more: object) -> RawHit:
    """A hit that a person's browser makes now."""
    values: dict[str, object] = {
        "id": IdFactory(clock.now).hit(),
        "kind": kind,
        "delivery": of,
        "link": 0 if kind is HitKind.OPEN else 1,
        "url": "" if kind is HitKind.OPEN else TARGET,
        "at": clock.now(),
        "ip": "198.51.100.7",
        "agent": BROWSER,
        "method": "GET",
        "headers": (),
        **more,
    }
    return RawHit(**values)  # type: ignore[arg-type]
