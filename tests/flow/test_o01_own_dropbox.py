"""O1, I1: a dropbox among the recipients of what we send: filed at once as its user's, and sent nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailrelay.config.schema import Filing, ListenerKind
from mailrelay.ids import IdFactory, MessageId, NodeId, OrgId, QueueId
from mailrelay.inbound.pipeline import Pipeline
from mailrelay.inbound.worker import FilingWorker
from mailrelay.model.envelope import ArrivalState, Channel
from mailrelay.model.organisation import Right
from mailrelay.model.reply import Reply
from mailrelay.model.settings import OrganisationSettings, SenderCheck
from mailrelay.service import Stopping
from mailrelay.smtp import codes
from mailrelay.store import deliveries, dropboxes, ledger, links, unresolved
from mailrelay.store.base import Store
from tests.support import factory
from tests.support.edge import BOUNCES, DOMAIN, PASSWORD, Edge, edge
from tests.support.filing import Desk, office
from tests.support.http import Client, serving
from tests.support.smtp_client import connected

_MAIL = b"From: anna@example.com\r\nTo: bob@customer.test\r\nSubject: Offer\r\n\r\nHello\r\n"
_ANYBODY = OrganisationSettings(sender_check=SenderCheck.TOKEN)


async def _send(here: Edge, *recipients: str, raw: bytes = _MAIL) -> Reply:
    async with connected(here.port(ListenerKind.SUBMISSIONS), tls=True) as client:
        await client.ehlo()
        await client.log_in("anna@example.com", PASSWORD)
        return await client.mail(list(recipients), raw)


async def _file(here: Edge) -> None:
    ids = IdFactory(here.clock.now)
    service_domains = frozenset((DOMAIN, BOUNCES))
    pipeline = Pipeline(here.store, here.bodies, here.clock, ids, resolver=None, service_domains=service_domains)
    node, stopping = NodeId("test"), Stopping()
    await FilingWorker(here.store, pipeline, Filing(), here.clock, ids, node=node, stopping=stopping).drain()


async def _links(store: Store, org: OrgId, message: str | None) -> set[str]:
    found = await store.read(links.of_message, org, MessageId(message or ""))
    return {str(link.record) for link in found if link.removed_at is None}


async def _leaving(store: Store, queue_id: str) -> list[str]:
    return [str(one.address) for one in await store.read(deliveries.of_queue_id, QueueId(queue_id))]


async def _balanced(store: Store) -> bool:
    sums = await store.read(ledger.balance)
    return not any(one.unaccounted for one in sums) and not await store.read(ledger.audit)


async def test_the_senders_own_dropbox_is_no_delivery(tmp_path: Path) -> None:
    async with edge(tmp_path) as here:
        await factory.record(here.store, here.clock, here.organisation, "contact/1", addresses=("bob@customer.test",))
        answer = await _send(here, "bob@customer.test", here.address.upper(), here.address)
        assert answer.code == 250, str(answer)
        await _file(here)
        (arrival,) = await here.arrivals()
        assert (arrival.channel, arrival.state) == (Channel.SUBMISSION, ArrivalState.RELAYED)
        assert await _leaving(here.store, arrival.id) == ["bob@customer.test"]
        assert await _links(here.store, here.organisation.id, arrival.message) == {"contact/1"}
        (box,) = await here.store.read(dropboxes.of_user, here.organisation.id, here.user.id)
        assert box.last_used_at is not None
        assert await _balanced(here.store)


async def test_a_mail_to_the_senders_dropbox_alone_is_filed_and_sent_to_nobody(tmp_path: Path) -> None:
    async with edge(tmp_path) as here:
        await factory.record(here.store, here.clock, here.organisation, "contact/1", addresses=("bob@customer.test",))
        keyed = b"X-Mailrelay-Idempotency-Key: one\r\n" + _MAIL
        answers = {str(await _send(here, here.address, raw=keyed)) for _ in range(2)}
        assert [answer[:3] for answer in answers] == ["250"]
        await _file(here)
        (arrival,) = await here.arrivals()
        assert await _leaving(here.store, arrival.id) == []
        assert await _links(here.store, here.organisation.id, arrival.message) == {"contact/1"}
        assert await _balanced(here.store)


@pytest.mark.parametrize(
    ("settings", "states"),
    # Which of the two arrivals a worker takes first is chance, and only the second is a duplicate.
    [(None, {ArrivalState.UNRESOLVED}), (_ANYBODY, {ArrivalState.FILED, ArrivalState.DUPLICATE})],
    ids=["own", "anybody"],
)
async def test_a_colleagues_dropbox_gets_the_same_message_by_the_colleagues_rules(
    tmp_path: Path, settings: OrganisationSettings | None, states: set[ArrivalState]
) -> None:
    async with edge(tmp_path, settings=settings) as here:
        box, cleo = await here.second_dropbox()
        answer = await _send(here, "bob@customer.test", f"bcc-{box.token}@{DOMAIN}", here.address)
        assert answer.code == 250, str(answer)
        await _file(here)
        sent, copy = sorted(await here.arrivals(), key=lambda one: one.channel is Channel.DROPBOX)
        assert (copy.channel, copy.message) == (Channel.DROPBOX, sent.message)
        assert copy.state in states
        assert copy.target is not None
        assert (copy.target.user, copy.target.dropbox) == (cleo.id, box.id)
        assert await _leaving(here.store, sent.id) == ["bob@customer.test"]
        assert answer.text == f"queued as {sent.id}"
        waiting = await here.store.read(unresolved.list_open, here.organisation.id)
        assert [(one.user, one.reason) for one in waiting] == (
            [(cleo.id, "unpermitted_sender")] if copy.state is ArrivalState.UNRESOLVED else []
        )
        assert await _balanced(here.store)


async def test_a_dropbox_of_another_organisation_is_sent_to_like_any_address(tmp_path: Path) -> None:
    async with edge(tmp_path) as here:
        box, _ = await here.second_dropbox(sender_check=SenderCheck.TOKEN)
        await _send(here, f"bcc-{box.token}@{DOMAIN}")
        (arrival,) = await here.arrivals()
        assert await _leaving(here.store, arrival.id) == [f"bcc-{box.token}@{DOMAIN}"]


async def test_i24_an_unknown_or_revoked_dropbox_is_refused_as_at_the_edge(tmp_path: Path) -> None:
    async with edge(tmp_path) as here:
        revoked = here.address
        await here.store.write(dropboxes.disable, here.organisation.id, here.user.id, now=here.clock.now())
        for unknown in (revoked, f"bcc-nobody@{DOMAIN}", f"anything@{DOMAIN}"):
            answer = await _send(here, "bob@customer.test", unknown)
            assert str(answer) == str(codes.NO_SUCH_DROPBOX)
        assert await here.arrivals() == []
        assert (await _send(here, f"postmaster@{DOMAIN}")).code == 250


async def _place(desk: Desk) -> str:
    _, secret = await factory.api_token(desk.store, desk.clock, desk.org, Right.ADMIN)
    return secret


def _draft(*bcc: str) -> dict[str, object]:
    return {"from": "anna@example.com", "to": ["bob@customer.test"], "bcc": bcc, "subject": "Offer", "text": "Hello"}


async def _post(client: Client, *bcc: str) -> tuple[int, dict[str, object]]:
    answer = await client.post("/api/v1/messages", json=_draft(*bcc))
    return answer.status, answer.json


async def test_the_api_does_the_same(tmp_path: Path) -> None:
    async with serving(tmp_path) as api, office(tmp_path, store=api.store) as desk:
        client = api.web.bearing(await _place(desk))
        await desk.record("contact/1", "bob@customer.test")
        cleo = await desk.user("cleo@example.com")
        status, queued = await _post(client, desk.dropbox_address(), desk.dropbox_address(cleo))
        assert status == 202
        assert [one["recipient"] for one in queued["deliveries"]] == ["bob@customer.test"]  # type: ignore[attr-defined]
        await desk.worker.drain()
        assert await desk.links(MessageId(str(queued["id"]))) == {"contact/1"}
        assert [entry.user for entry in await desk.waiting()] == [cleo.id]
        await desk.store.write(dropboxes.disable, desk.org.id, desk.anna.id, now=desk.clock.now())
        status, refused = await _post(client, desk.dropbox_address())
        assert (status, refused["detail"]) == (422, codes.NO_SUCH_DROPBOX.lines[0])
        assert await desk.is_balanced()
