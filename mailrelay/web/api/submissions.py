"""Sending mail: from JSON fields, or a whole RFC 5322 message with its envelope in its header (O1, O19)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from mailrelay.errors import MemoryShort
from mailrelay.model.mailing_list import LONGEST_NAME
from mailrelay.outbound.job import JOB_FIELD, LONGEST_JOB
from mailrelay.outbound.mailing_list import LIST_FIELD
from mailrelay.outbound.submission import Submitted
from mailrelay.web.api.given_message import (
    A_MESSAGE,
    JOB,
    LIST,
    QueryAt,
    QueryPreset,
    QueryRecords,
    QueryZone,
    asked_for,
)
from mailrelay.web.api.read_submission import read_submission
from mailrelay.web.api.scheduling import ShownSchedule
from mailrelay.web.application import App
from mailrelay.web.identity import Sender
from mailrelay.web.once import PREFIX, REPLAYED, IdempotencyKey, check_key
from mailrelay.web.shape import MailAddress, Shown
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["messages"])


class QueuedDelivery(Shown):
    """One recipient of a queued message."""

    id: str
    recipient: MailAddress


class Queued(Shown):
    """A queued message; `repeated` when this Idempotency-Key had queued it before.

    Dropboxes of the organisation are no deliveries: what is sent to them is filed at once.
    """

    id: str
    queue_id: str
    deliveries: tuple[QueuedDelivery, ...]
    repeated: bool
    schedule: ShownSchedule | None

    @classmethod
    def of(cls, one: Submitted) -> Queued:
        """What became of a submission, as it is answered."""
        return cls(
            id=one.message,
            queue_id=one.queue_id,
            deliveries=tuple(
                QueuedDelivery(id=delivery, recipient=address)
                for delivery, address in zip(one.deliveries, one.sent_to, strict=True)
            ),
            repeated=one.repeated,
            schedule=None if one.schedule is None else ShownSchedule.of(one.schedule),
        )


@router.post(
    "/messages",
    status_code=202,
    openapi_extra=A_MESSAGE,
    responses={
        202: {
            "headers": {
                "Location": {"description": "Where the mail is.", "schema": {"type": "string"}},
                REPLAYED: {"description": "`true` when this key had queued it before.", "schema": {"type": "string"}},
            }
        }
    },
)
async def send(
    app: App,
    caller: Sender,
    request: Request,
    response: Response,
    user: Annotated[
        str, Query(max_length=320, description="On whose behalf, by id or address; by default the owner of From.")
    ] = "",
    job: Annotated[
        str,
        Query(max_length=LONGEST_JOB, description=f"For a whole message, like its field {JOB_FIELD}. {JOB}"),
    ] = "",
    list: Annotated[  # noqa: A002 (the parameter's name)
        str, Query(max_length=LONGEST_NAME, description=f"For a whole message, like its field {LIST_FIELD}. {LIST}")
    ] = "",
    at: QueryAt = "",
    zone: QueryZone = "",
    preset: QueryPreset = None,
    record: QueryRecords = (),
    idempotency_key: IdempotencyKey = None,
) -> Queued:
    """Queue a mail for each of its recipients; 202 means that it is durable.

    A body of type message/rfc822 is sent as it is, to the addresses of its To, Cc and Bcc, without Bcc.
    """
    check_key(request, idempotency_key)
    if app.memory.short():
        raise MemoryShort("Memory is short; try again later")  # D07: as SMTP says 421
    asked = asked_for(at, zone, preset)
    taken = await read_submission(app, caller, request, user=user, job=job, list_=list, schedule=asked, records=record)
    submitted = await app.submitter.submit(replace(taken, idempotency_key=idempotency_key, by=caller.by))
    response.headers["Location"] = f"{PREFIX}/messages/{submitted.message}"
    if submitted.repeated:
        response.headers[REPLAYED] = "true"
    return Queued.of(submitted)
