"""Webhooks: where events are sent, signed and in order; made, changed, tried out, switched off (R6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter

from mailrelay import log
from mailrelay.errors import Conflict, Invalid, NotPermitted, Unknown
from mailrelay.ids import EventSeq, WebhookId
from mailrelay.model.event import EventType
from mailrelay.model.reach import BadUrl
from mailrelay.model.webhook import SigningSecrets, Webhook
from mailrelay.outbound.vault import Unreadable
from mailrelay.store import people, webhook_calls, webhook_orders, webhooks
from mailrelay.store.base import Tx
from mailrelay.web.api.shown_webhook import (
    ChangedWebhook,
    GivenWebhook,
    Health,
    ListedWebhook,
    NewWebhook,
    Rotation,
    ShownWebhook,
    Tried,
)
from mailrelay.web.application import App, Application
from mailrelay.web.etag import IfMatch, Seen
from mailrelay.web.identity import Caller, Reader, Sender
from mailrelay.web.once import Once, making
from mailrelay.web.shape import After, Limit, Page, Paged, in_field, paged
from mailrelay.web.strict import StrictRoute
from mailrelay.webhook import sign

router = APIRouter(route_class=StrictRoute, tags=["webhooks"])
_logger = log.get()
_LONGEST_OVERLAP = timedelta(days=30)


@router.get("/webhooks", response_model=Page[ListedWebhook])
async def list_all(app: App, caller: Reader, after: After = "", limit: Limit = 100) -> Paged[ListedWebhook]:
    """The organisation's webhooks, oldest first; of a user those of their own notices."""
    mine = None if caller.viewer.all else caller.user
    if mine is None and not caller.viewer.all:
        return Paged((), None)
    found = await app.store.read(webhooks.list_webhooks, caller.org, of=mine, after=after, limit=limit)
    return paged([ListedWebhook.of(one) for one in found], limit=limit, cursor=lambda one: one.id)


@router.post("/webhooks", status_code=201)
async def add(
    app: App,
    caller: Sender,
    given: GivenWebhook,
    once: Annotated[Once, making("/webhooks/{id}", secret=("secret",))],
) -> NewWebhook:
    """Send events to a URL, from now on; the first one says that this webhook was created.

    The organisation's token, without a user and with the right to admin, may have every event sent; a user's, with the right to send,
    their notices. When the token is revoked, the webhook is disabled.
    """
    await once.replay(app.store)  # DNS may say otherwise by now
    await _reachable(app, given.url)
    secret = sign.new_secret()
    made = await once.write(app.store, _add, app, caller, given, secret)
    _logger.info("webhook.added", org=caller.org, webhook=made.id, by=caller.by)
    return made


@router.get("/webhooks/{webhook}", response_model=ShownWebhook)
async def show(app: App, caller: Reader, webhook: str) -> Webhook:
    """One webhook; its secret is not shown again."""
    return await app.store.read(get_webhook, caller, webhook)


@router.get("/webhooks/{webhook}/health", response_model=Health)
async def health(app: App, caller: Reader, webhook: str) -> Webhook:
    """How the calls of a webhook go, now."""
    return await app.store.read(get_webhook, caller, webhook)


@router.patch("/webhooks/{webhook}", response_model=ShownWebhook)
async def change(app: App, caller: Sender, webhook: str, given: ChangedWebhook, seen: IfMatch) -> Webhook:
    """Change a webhook. What waits for it goes to the new URL, at once."""
    if given.url is not None:
        await _reachable(app, given.url)

    def put(tx: Tx, one: Webhook) -> None:
        webhooks.put(tx, one, _with(tx, app, caller, one, given), by=caller.by)

    changed = await app.store.write(_change, caller, webhook, seen, put)
    _told(caller, changed, "changed")
    return changed


@router.delete("/webhooks/{webhook}", status_code=204)
async def remove(app: App, caller: Sender, webhook: str, seen: IfMatch) -> None:
    """Send nothing more there, for good. What waits for it is given up."""
    gone = await app.store.write(_remove, app, caller, webhook, seen)
    _logger.info("webhook.removed", org=gone.org, webhook=gone.id, by=caller.by)


@router.post("/webhooks/{webhook}/disable", response_model=ShownWebhook)
async def disable(app: App, caller: Sender, webhook: str, seen: IfMatch) -> Webhook:
    """Send nothing there until it is enabled; events wait."""
    because = f"switched off by {caller.by}"

    def stop(tx: Tx, one: Webhook) -> None:
        webhooks.disable(tx, one, because=because, at=app.clock.now(), by=caller.by)

    off = await app.store.write(_change, caller, webhook, seen, stop)
    _told(caller, off, "disabled")
    return off


@router.post("/webhooks/{webhook}/enable", response_model=ShownWebhook)
async def enable(app: App, caller: Sender, webhook: str, seen: IfMatch) -> Webhook:
    """Send what waits for it, and go on: after it was disabled, by itself or by hand. The caller's token answers for it from now on."""

    def start(tx: Tx, one: Webhook) -> None:
        now, lasting = app.clock.now(), lifetime(app)
        webhook_orders.enable(tx, one, token=caller.token, by=caller.by, now=now, lifetime=lasting)

    enabled = await app.store.write(_change, caller, webhook, seen, start)
    _told(caller, enabled, "enabled")
    return enabled


@router.post("/webhooks/{webhook}/rotate")
async def rotate(
    app: App,
    caller: Sender,
    webhook: str,
    once: Annotated[Once, making("/webhooks/{id}", secret=("secret",))],
    seen: IfMatch,
    given: Rotation | None = None,
) -> NewWebhook:
    """Make a new signing secret. The old one signs as well until the overlap has passed; with 0 it is worthless at once."""
    secret = sign.new_secret()
    changed = await once.write(app.store, _rotate, app, caller, webhook, seen, (given or Rotation()).overlap, secret)
    _logger.info("webhook.changed", org=caller.org, webhook=changed.id, by=caller.by, what="rotated")
    return changed


@router.post("/webhooks/{webhook}/test")
async def test(app: App, caller: Sender, webhook: str) -> Tried:
    """Send one `webhook.test` now, also while it is disabled, and say what was answered."""
    found = await app.store.read(_tested, caller, webhook)
    at = int(app.clock.now().timestamp() * 1000)
    result = await app.webhooks.test(found, f"test_{found.id}_{at}")
    return Tried(
        works=result.taken,
        status=result.status,
        because=result.failure,
        said=result.said,
        seconds=round(result.seconds, 3),
    )


def lifetime(app: Application) -> timedelta:
    """How long an event is tried, from when it is queued."""
    return timedelta(seconds=app.config.webhooks.lifetime)


async def _reachable(app: Application, url: str) -> None:
    """Raises Invalid for a URL that leads inside, now (W02); each connection is looked at again."""
    try:
        await app.webhooks.check(url)
    except BadUrl as error:
        raise Invalid("url", str(error)) from None


def get_webhook(tx: Tx, caller: Caller, id_: str, *, lock: bool = False) -> Webhook:
    """One that the caller may see and change. Raises Unknown, also for what is another's."""
    get = webhooks.locked if lock else webhooks.get
    found = get(tx, caller.org, WebhookId(id_))
    if not caller.viewer.all and (caller.user is None or found.user != caller.user):
        raise Unknown("There is no such webhook")
    return found


def _tested(tx: Tx, caller: Caller, id_: str) -> Webhook:
    """One to be tried out. Raises Unknown, Conflict."""
    found = get_webhook(tx, caller, id_)
    if webhooks.user_is_inactive(tx, found):
        raise Conflict("Its user is deactivated, and is sent nothing")
    return found


def _add(tx: Tx, app: Application, caller: Caller, given: GivenWebhook, secret: str) -> NewWebhook:
    with in_field("user"):
        whose = None if given.user is None else people.find(tx, caller.org, given.user)
    user = None if whose is None else whose.id
    if not caller.viewer.all and (user is None or user != caller.user):
        raise NotPermitted(
            "A user has their own notices sent (user); every event only the organisation's own token, with the right to admin"
        )
    if whose is not None and not whose.active:
        raise Invalid("user", "is deactivated, and is sent nothing")
    id_, now = app.ids.webhook(), app.clock.now()
    made = webhooks.add(
        tx,
        Webhook(
            id=id_,
            org=caller.org,
            user=user,
            url=given.url,
            types=_sorted(given.types),
            description=given.description,
            secrets=app.webhooks.seal(SigningSecrets(now=secret), id_),
            before_until=None,
            active=True,
            because="",
            created_at=now,
            created_by=caller.by,
            changed_at=now,
            seq=EventSeq(0),
            token=caller.token,
        ),
    )
    return _new(made, secret)


def _change(tx: Tx, caller: Caller, id_: str, seen: Seen, change_: Callable[[Tx, Webhook], None]) -> Webhook:
    seen.check(tx, lambda: ShownWebhook.model_validate(get_webhook(tx, caller, id_)))
    one = get_webhook(tx, caller, id_, lock=True)
    change_(tx, one)
    return webhooks.get(tx, one.org, one.id)


def _with(tx: Tx, app: Application, caller: Caller, one: Webhook, given: ChangedWebhook) -> Webhook:
    changes: dict[str, Any] = {
        name: value for name, value in (("url", given.url), ("description", given.description)) if value is not None
    }
    if given.types is not None:
        changes["types"] = _sorted(given.types)
    if given.url is not None and given.url != one.url:
        webhook_calls.hasten(tx, one.id, now=app.clock.now())
    return replace(one, **changes, token=caller.token, changed_at=app.clock.now())


def _remove(tx: Tx, app: Application, caller: Caller, id_: str, seen: Seen) -> Webhook:
    seen.check(tx, lambda: ShownWebhook.model_validate(get_webhook(tx, caller, id_)))
    gone = get_webhook(tx, caller, id_, lock=True)
    webhook_orders.drop(tx, gone, at=app.clock.now(), because="the webhook was removed")
    webhooks.remove(tx, gone, by=caller.by, at=app.clock.now())
    return gone


def _rotate(
    tx: Tx, app: Application, caller: Caller, id_: str, seen: Seen, overlap: timedelta, secret: str
) -> NewWebhook:
    seen.check(tx, lambda: ShownWebhook.model_validate(get_webhook(tx, caller, id_)))
    if overlap > _LONGEST_OVERLAP:
        raise Invalid("overlap", "must be at most 30d")
    one, now = get_webhook(tx, caller, id_, lock=True), app.clock.now()
    if overlap and one.before_until is not None and one.before_until > now:
        raise Conflict(
            f"A rotation is under way until {one.before_until:%Y-%m-%d %H:%M} UTC; with overlap 0 it ends, and the secrets before"
        )
    before = ""
    if overlap:
        try:
            before = app.webhooks.opened(one).now
        except Unreadable:
            before = ""  # it signs nothing as it is
    new = SigningSecrets(now=secret, before=before)
    rotated = replace(
        one,
        secrets=app.webhooks.seal(new, one.id),
        before_until=now + overlap if before else None,
        token=caller.token,
        changed_at=now,
    )
    webhooks.put(tx, one, rotated, by=caller.by)
    return _new(webhooks.get(tx, one.org, one.id), secret)


def _new(one: Webhook, secret: str) -> NewWebhook:
    return NewWebhook(**ShownWebhook.model_validate(one).model_dump(), secret=secret)


def _sorted(types: tuple[EventType, ...]) -> tuple[EventType, ...]:
    return tuple(sorted(set(types)))


def _told(caller: Caller, one: Webhook, what: str) -> None:
    _logger.info("webhook.changed", org=one.org, webhook=one.id, by=caller.by, what=what)
