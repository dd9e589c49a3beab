"""`/u/TOKEN`: the page that unsubscribes, and the POST by which mail programs do it with one click (O15, RFC 8058).

GET shows who would leave what and never changes anything, however often a scanner asks (T06). POST needs nothing but the token: no
cookie, no login, no redirect. It is answered 200 once it is durable, and not before: while the store is away it is 503 (T07).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final
from urllib.parse import parse_qsl

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from mailrelay import log, metrics
from mailrelay.errors import Unavailable
from mailrelay.model.address import Address
from mailrelay.model.delivery import Delivery
from mailrelay.model.mailing_list import MailingList
from mailrelay.model.suppression import Suppression
from mailrelay.outbound import unsubscribe
from mailrelay.store import deliveries, mailing_lists, organisations
from mailrelay.store.base import Tx
from mailrelay.tracking.token import Kind, Token
from mailrelay.tracking.unsubscribe import ONE_CLICK, form_url
from mailrelay.web.at_once import Answer
from mailrelay.web.public import page
from mailrelay.web.public.door import Door, Path

_LARGEST = 16_384
"""Bytes of a form; nothing else is sent to us here."""
_SLOWEST = 10.0
"""Seconds for all of it."""
_FIELDS = 20
_ALLOW: Final = b"GET, HEAD, POST, OPTIONS"
_LATER: Final = ((b"retry-after", b"60"),)
_ASKS = "Unsubscribe?"
_LEFT = "Unsubscribed"
_AWAY = page.html("Not now", "This did not work just now, and nothing has changed. Please try again in a minute.")
_MALFORMED = page.html("Not understood", "The request cannot be read.")
_TOO_LARGE = page.html("Too much", "The request is too large.")


class _Wish(StrEnum):
    ONE_CLICK = "one_click"
    LIST = "list"
    ALL = "all"
    RESUBSCRIBE = "resubscribe"


_EVIDENCE: Final = {
    _Wish.ONE_CLICK: "one click in their mail program",
    _Wish.LIST: "the list's button on the unsubscribe page",
    _Wish.ALL: "the button for all mail on the unsubscribe page",
    _Wish.RESUBSCRIBE: "the button for mail again on the unsubscribe page",
}


@dataclass(frozen=True, slots=True)
class _Known:
    """Who would leave what, and what they have left already ("" is all mail)."""

    delivery: Delivery
    sender: str
    list: MailingList | None
    form: str
    left: Mapping[str, Suppression]
    """By list."""


class _Refused(Exception):
    """The request cannot be read."""

    def __init__(self, status: int, body: bytes = _MALFORMED) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def paths(door: Door) -> Mapping[str, Path]:
    """See `web.public.door`."""
    return {"u": Path(later=_Unsubscribe(door).answer)}


class _Unsubscribe:
    def __init__(self, door: Door) -> None:
        self._door = door
        self._store = door.application.store
        self._clock = door.application.clock
        self._brakes = door.application.config.brakes
        self._log = log.get()

    async def answer(self, scope: Scope, receive: Receive) -> Answer:
        """The answer to one request."""
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return self._door.other_method(scope, _ALLOW)
        token = self._door.token(scope, "u")
        if token is None or token.kind is not Kind.UNSUBSCRIBE:
            return self._nothing(scope)
        try:
            wish = _wish(await _form(scope, receive)) if scope["method"] == "POST" else None
            known = await self._store.read(_look, token)
            if known is None:
                return self._nothing(scope)
            if wish is not None:
                known = await self._done(token, known, wish)
        except _Refused as refused:
            _count("refused")
            return self._door.answer(refused.status, refused.body)
        except Unavailable as error:
            self._log.warning("unsubscription.delayed", because=str(error))
            _count("unavailable")
            return self._door.answer(503, _AWAY, fields=_LATER)
        _count("shown" if wish is None else "done")
        return self._door.answer(200, _shown(known))

    def _nothing(self, scope: Scope) -> Answer:
        _count("unknown")
        return self._door.nothing(scope)

    async def _done(self, token: Token, known: _Known, wish: _Wish) -> _Known:
        """How it is once the wish is durable. Raises _Refused, and what the store raises."""
        list_ = known.delivery.list
        if wish is _Wish.LIST and not list_:
            raise _Refused(400)
        leaves = "" if wish is _Wish.ALL else list_
        # What they said before is answered alike, and nothing is written.
        said = leaves in known.left and known.left[leaves].is_own_word
        if said if wish is not _Wish.RESUBSCRIBE else not known.left:
            return known

        def write(tx: Tx) -> _Known | None:
            at, delivery = self._clock.now(), known.delivery
            if wish is _Wish.RESUBSCRIBE:
                unsubscribe.come_back(tx, delivery, evidence=_EVIDENCE[wish], at=at)
            else:
                way = "one_click" if wish is _Wish.ONE_CLICK else "page"
                evidence = _EVIDENCE[wish]
                unsubscribe.leave(tx, delivery, leaves, way=way, evidence=evidence, at=at, brakes=self._brakes)
            return _look(tx, token)

        return await self._store.write(write) or known


def _look(tx: Tx, token: Token) -> _Known | None:
    """What a token is about; None when its delivery is kept no longer."""
    delivery = deliveries.by_id(tx, token.delivery)
    if delivery is None:
        return None
    organisation = organisations.get(tx, delivery.org)
    name = delivery.list
    form = organisation.settings.unsubscribe_url
    return _Known(
        delivery=delivery,
        sender=organisation.name,
        list=mailing_lists.named(tx, delivery.org, [name]).get(name) if name else None,
        form=form_url(form, list_=name, delivery=delivery.id) if form else "",
        left={one.list: one for one in unsubscribe.left(tx, delivery)},
    )


async def _form(scope: Scope, receive: Receive) -> Sequence[tuple[str, str]]:
    """The fields of a form, in either encoding. Raises _Refused."""
    body = await _body(receive)
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"").lower()
    if not kind.startswith(b"multipart/"):
        try:
            # A line's end behind it is no part of what is asked for.
            text = body.decode("ascii").rstrip("\r\n")
            return parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=_FIELDS)
        except ValueError:
            raise _Refused(400) from None

    async def again() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(scope, again).form(max_files=0, max_fields=_FIELDS, max_part_size=_LARGEST) as form:
            return [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    except (MultiPartException, HTTPException, ValueError):
        raise _Refused(400) from None


async def _body(receive: Receive) -> bytes:
    """A small body, sent in good time. Raises _Refused."""
    body = bytearray()
    try:
        async with asyncio.timeout(_SLOWEST):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise _Refused(400)  # it has gone
                body += message.get("body", b"")
                if len(body) > _LARGEST:
                    raise _Refused(413, _TOO_LARGE)
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise _Refused(408) from None


def _wish(fields: Sequence[tuple[str, str]]) -> _Wish:
    """What a form asks for. Raises _Refused for anything that is not one of ours (T08)."""
    # RFC 8058 §3.1: this pair; a mail program may send others beside it.
    if ONE_CLICK in fields:
        return _Wish.ONE_CLICK
    asked = [value for name, value in fields if name == "scope"]
    if len(asked) != 1 or asked[0] not in (_Wish.LIST, _Wish.ALL, _Wish.RESUBSCRIBE):
        raise _Refused(400)
    return _Wish(asked[0])


def _shown(known: _Known) -> bytes:
    delivery = known.delivery
    list_ = delivery.list if known.list is None else known.list.label
    left = bool(known.left)
    html: str = _page().render(
        title=_LEFT if left else _ASKS,
        who=_masked(delivery.address),
        sender=known.sender,
        list=list_,
        description="" if known.list is None else known.list.description,
        form=known.form,
        left_all="" in known.left,
        left_list=bool(delivery.list) and delivery.list in known.left,
    )
    return html.encode()


def _masked(address: Address) -> str:
    """An address that its owner knows again, and nobody to whom the mail was passed on reads."""
    return f"{address.local[:1]}•••@{address.domain}"


@cache
def _page() -> Template:
    environment = Environment(
        loader=PackageLoader("mailrelay.web.public"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("unsubscribe.html")


def _count(outcome: str) -> None:
    metrics.unsubscribe_requests.labels(outcome).inc()
