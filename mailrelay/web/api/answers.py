"""Automatic answers to mail that came in, as far as RFC 3834 lets anybody answer it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field, StringConstraints

from mailrelay.errors import Invalid
from mailrelay.ids import MessageId
from mailrelay.model.address import Address
from mailrelay.model.message import ParticipantRole
from mailrelay.model.organisation import User
from mailrelay.outbound.answer import Answerer, AnswerRequest, Sent
from mailrelay.outbound.policy.answer import NoAnswer
from mailrelay.outbound.policy.sender import lookup_keys
from mailrelay.store import messages, people, visibility
from mailrelay.store.base import Tx
from mailrelay.web.api.author import author_of
from mailrelay.web.application import App, Application
from mailrelay.web.identity import Caller, Sender
from mailrelay.web.shape import Given, MailAddress, Shown
from mailrelay.web.strict import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["messages"])
Body = Annotated[str, StringConstraints(max_length=100_000)]


class GivenAnswer(Given):
    """What to answer; at least a text or an HTML body."""

    from_: MailAddress | None = Field(
        None, alias="from", description="By default the address of a user that the message names in To or Cc."
    )
    subject: Annotated[str, StringConstraints(max_length=900)] | None = Field(
        None, description="By default `Auto: ` and the subject of the message."
    )
    text: Body | None = Field(None, repr=False)
    html: Body | None = Field(None, repr=False)


class ShownAnswer(Shown):
    """What became of it: `queue_id` and `message` of the answer, or why there is none."""

    sent: bool
    queue_id: str | None = None
    message: str | None = None
    reason: NoAnswer | None = None
    because: str = ""


@router.post("/messages/{id}/answer")
async def answer(
    app: App,
    caller: Sender,
    id: str,  # noqa: A002
    given: GivenAnswer,
    user: Annotated[
        str, Query(max_length=320, description="On whose behalf, by id or address; by default the owner of from.")
    ] = "",
) -> ShownAnswer:
    """Answer a message that came in, automatically: `sent` says whether it may be answered.

    The answer goes to the envelope sender of the message, from the null reverse-path, marked as automatic. There is none to
    machines, lists, spam, our own addresses, to mail that does not name who answers, and to nobody twice within days.
    """
    if given.text is None and given.html is None:
        raise Invalid("text", "an answer needs a text or an HTML body")
    author = await app.store.read(_author, caller, MessageId(id), user, given.from_)
    if author is None:
        because = "It names no user in To or Cc; say with `from` which address answers"
        return ShownAnswer(sent=False, reason=NoAnswer.NOT_NAMED, because=because)
    became = await _answerer(app).answer(
        AnswerRequest(
            org=caller.org,
            message=MessageId(id),
            user=author,
            from_=given.from_,
            subject=given.subject,
            text=given.text,
            html=given.html,
        )
    )
    if isinstance(became, Sent):
        return ShownAnswer(sent=True, queue_id=became.queue_id, message=became.message)
    return ShownAnswer(sent=False, reason=became.reason, because=became.because)


def _answerer(app: Application) -> Answerer:
    config = app.config
    domain = config.dkim.domain or config.inbound.domains[0]
    own = {*config.inbound.domains, config.inbound.bounce_domain, config.hostname, domain}
    return Answerer(app.store, app.bodies, app.clock, app.submitter, own_domains=own)


def _author(tx: Tx, caller: Caller, id_: MessageId, wanted: str, from_: Address | None) -> User | None:
    """On whose behalf: as for any mail, but by default the user whom the message names."""
    visibility.check(tx, caller.viewer, id_)
    message = messages.get(tx, caller.org, id_)
    if from_ is not None or wanted or caller.user is not None:
        return author_of(tx, caller, wanted, from_)
    named = [one.address for one in message.participants if one.role in (ParticipantRole.TO, ParticipantRole.CC)]
    for address in named:
        found = people.by_addresses(tx, caller.org, sorted(lookup_keys([address])))
        if active := [one for one in found if one.active]:
            return active[0]
    return None
