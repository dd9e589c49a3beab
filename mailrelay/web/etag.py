"""Which version of a thing somebody saw: ETag on what is shown, If-Match on what changes it (RFC 9110 §8.8.3, §13.1).

How a route uses it:

- GET: nothing to do. `StrictRoute` gives every JSON answer its ETag, and answers 304 to an `If-None-Match` that names it.
- PUT and PATCH that answer what GET shows: take a parameter `seen: IfMatch` (PUT that also creates: `seen: IfMatchOrNew`) and call
  `seen.check(tx, lambda: ShownUser.model_validate(find(tx, …)))` **first** in the writing transaction. The function makes what GET would
  show now. The answer's ETag comes by itself; an answer of another form says `response.headers["ETag"] = etag.of(shown)`.
- DELETE, and POST that changes one thing: the same `seen: IfMatch` and `seen.check`.
- POST that makes something: `web.once`, which also gives the answer its ETag.

A tag is the hash of the whole representation: what looks the same is the same, whoever asked.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from mailrelay.errors import Invalid, Outdated, Unknown
from mailrelay.store.base import Tx

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')  # RFC 9110 §8.8.3: entity-tag
_LISTED = re.compile(rf"[ \t,]*{_TAG.pattern}(?:[ \t]*,[ \t,]*{_TAG.pattern})*[ \t,]*")
_MOST = 2000
_OUTDATED = "It changed since it was seen, or is not there any more: read it again, then change it"


def of(shown: BaseModel) -> str:
    """The tag of what is shown; the same that GET answers with."""
    return of_bytes(shown.model_dump_json(by_alias=True).encode())


def of_bytes(body: bytes) -> str:
    """The tag of a representation in bytes."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The conditions of a change: what its sender saw."""

    tags: str | None
    """If-Match: tags or `*`; None for no condition."""
    only_new: bool = False
    """If-None-Match: `*`."""
    may_create: bool = False

    def check(self, tx: Tx, now: Callable[[], BaseModel]) -> None:
        """That the conditions hold for what `now` shows; it may raise Unknown. Raises Outdated.

        To be called first in the writing transaction: what it looked at cannot change before the commit.
        """
        if self.tags is None and not self.only_new:
            return
        tx.steady()
        try:
            tag = of(now())
        except Unknown:
            if not self.may_create:
                raise
            tag = ""
        if self.only_new and tag:
            raise Outdated("It is there already; leave out If-None-Match to change it")
        if self.tags is not None and not (tag and names(self.tags, tag)):
            raise Outdated(_OUTDATED)


def answered(request: Request, response: Response) -> Response:
    """An answer with its tag; 304 without a body when the caller has just this already (RFC 9110 §13.1.2)."""
    reads = request.method in ("GET", "HEAD")
    if response.status_code != 200 or not (reads or request.method in ("PUT", "PATCH")):
        return response
    if response.media_type != "application/json" or "etag" in response.headers:
        return response
    tag = of_bytes(bytes(response.body))
    response.headers["ETag"] = tag
    known = request.headers.get("if-none-match") if reads else None
    # RFC 9110 §13.1.2: compared weakly, as a proxy in between may have made the tag weak.
    if known is None or not names(known.replace("W/", ""), tag):
        return response
    kept = {name: response.headers[name] for name in ("etag", "cache-control", "vary") if name in response.headers}
    return Response(status_code=304, headers=kept)


def names(tags: str, tag: str) -> bool:
    """Whether a list of tags, or `*`, names this one."""
    return tags.strip() == "*" or tag in _TAG.findall(tags)  # RFC 9110 §13.1.1: strongly, so W/"…" is none


def _checked(tags: str | None) -> str | None:
    if tags is not None and tags.strip() != "*" and not _LISTED.fullmatch(tags):
        raise Invalid("If-Match", 'must be the ETag of an answer, quotes included, such as "3f1a…", or *')
    return tags


_Tags = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=_MOST,
        description="The ETag of what you saw: what changed since is left alone, with 412.",
    ),
]
_New = Annotated[
    str | None,
    Header(
        alias="If-None-Match", max_length=_MOST, description="`*`: only make it, with 412 when it is there already."
    ),
]


def _seen(if_match: _Tags = None) -> Seen:
    return Seen(tags=_checked(if_match))


def _seen_or_new(if_match: _Tags = None, if_none_match: _New = None) -> Seen:
    if if_none_match is not None and if_none_match.strip() != "*":
        raise Invalid("If-None-Match", "can only be * here: make it, if it is not there")
    return Seen(tags=_checked(if_match), only_new=if_none_match is not None, may_create=True)


IfMatch = Annotated[Seen, Depends(_seen)]
IfMatchOrNew = Annotated[Seen, Depends(_seen_or_new)]
