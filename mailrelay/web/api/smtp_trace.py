"""A live SMTP dialogue with one destination, line by line as it happens; for the operator."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import StreamingResponse

from mailrelay.errors import Invalid
from mailrelay.ids import OrgId
from mailrelay.outbound.trace import Direction, Wanted
from mailrelay.smtp.address import BadAddress, parse_domain
from mailrelay.web.api.suppressions import given_address
from mailrelay.web.application import App, Application
from mailrelay.web.identity import organisation_if_any, the_operator
from mailrelay.web.shape import Shown, lines_of
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["trace"], dependencies=[Depends(the_operator)])


class ShownTraceLine(Shown):
    """One line: what we said (`out`), what came (`in`), or a note of ours; `at` is seconds since the beginning."""

    at: float
    direction: Direction
    text: str


@router.post(
    "/smtp/trace",
    response_class=StreamingResponse,
    responses={200: lines_of("The lines, as they come; the last is a note that says how it ended.", ShownTraceLine)},
)
async def trace(
    app: App,
    request: Request,
    org: Annotated[OrgId, Depends(organisation_if_any)],
    destination: Annotated[
        str, Query(max_length=255, description="A recipient domain: its hosts, as mail goes there.")
    ] = "",
    host: Annotated[str, Query(max_length=255, description="One host instead, by name or address.")] = "",
    port: Annotated[int, Query(ge=0, le=65535, description="Of the host; 0 for the port that mail goes to.")] = 0,
    rcpt: Annotated[str, Query(max_length=320, description="Offer this recipient, and give up before DATA.")] = "",
    sender: Annotated[str, Query(alias="from", max_length=320, description="MAIL FROM with it; empty: <>.")] = "",
    source: Annotated[str, Query(max_length=64, description="Leave by this egress source.")] = "",
) -> StreamingResponse:
    """Talk to one destination, and show the dialogue while it happens.

    It needs no organisation; where one is named, or there is only one, its own smart host is the one for mail `from` its domain.

    DNS, connection, TLS with what the certificate says, EHLO, the recipient, QUIT: no mail is sent, and secrets are not shown. Answers
    NDJSON, the last line a note that begins with `done` or `failed`.
    """
    recipient = given_address(rcpt) if rcpt else None
    if host and destination:
        raise Invalid("host", "give either a host or a destination")
    if not host and not destination:
        if recipient is None:
            raise Invalid("destination", "give a destination, a host or a recipient")
        destination = recipient.domain
    wanted = Wanted(
        org=org,
        domain=_domain(destination, "destination") if destination else "",
        host=host if _is_address(host) else _domain(host, "host") if host else "",
        port=port,
        rcpt=recipient,
        sender=given_address(sender) if sender else None,
        source=source,
    )
    app.tracer.check(wanted)
    return StreamingResponse(_lines(app, request, wanted), media_type="application/x-ndjson")


async def _lines(app: Application, request: Request, wanted: Wanted) -> AsyncIterator[str]:
    async with contextlib.aclosing(app.tracer.trace(wanted, gone=request.is_disconnected)) as lines:
        async for line in lines:
            yield ShownTraceLine.model_validate(line).model_dump_json() + "\n"


def _domain(text: str, field: str) -> str:
    try:
        return parse_domain(text)
    except BadAddress as error:
        raise Invalid(field, str(error)) from None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
