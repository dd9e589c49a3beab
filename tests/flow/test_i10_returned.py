"""I10, its first part, and outgoing mail: what we send and what comes back to it are on the same records."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from mailrelay.filing import reading
from mailrelay.ids import MessageId
from mailrelay.model.delivery import Delivery, DeliveryState
from mailrelay.model.envelope import ArrivalState, Channel, EnvelopeRecipient, MailParams
from mailrelay.model.message import Direction
from mailrelay.model.settings import Unknown, UserSettings
from mailrelay.smtp.address import parse_address
from mailrelay.store import events, messages, queue
from mailrelay.store.base import Tx
from tests.support.filing import Desk, mail, office

_DSN = (
    "Reporting-MTA: dns; mx.customer.test\r\n\r\nFinal-Recipient: rfc822; bob@customer.test\r\nAction: failed\r\n"
    "Status: 5.1.1\r\n"
)


async def sent(desk: Desk, raw: bytes, *recipients: str, channel: Channel = Channel.API) -> tuple[MessageId, str]:
    """A message of ours as a submission leaves it; its id, and that of its arrival."""
    id_ = await desk.accept(raw, channel=channel, recipients=recipients)
    arrival = await desk.arrival(id_)
    message = replace(reading.read(raw, arrival, new_id=desk.ids.message).case.message, direction=Direction.OUT)

    def submit(tx: Tx) -> None:
        messages.insert(tx, message)
        tx.connection.exec_driver_sql("UPDATE arrival SET message = ? WHERE id = ?", (message.id, id_))

    await desk.store.write(submit)
    return message.id, id_


async def delivery(desk: Desk, message: MessageId, queue_id: str, recipient: str) -> Delivery:
    stored = await desk.store.read(messages.get, desk.org.id, message)
    new = Delivery(
        id=desk.ids.delivery(),
        org=desk.org.id,
        message=message,
        queue_id=stored.queue_id,
        channel=Channel.API,
        mail_from=parse_address("anna@example.com"),
        params=MailParams(),
        recipient=EnvelopeRecipient(address=parse_address(recipient)),
        state=DeliveryState.QUEUED,
        raw=stored.raw,
        created_at=desk.clock.now(),
        due_at=desk.clock.now(),
        expires_at=desk.clock.now() + timedelta(days=5),
        attempts=0,
        lease=None,
        last_reply="",
    )
    await desk.store.write(queue.enqueue, [new])
    return new


async def test_what_we_send_is_linked_and_its_unknown_recipient_created(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        await desk.record("contact/2", "hidden@customer.test")
        raw = mail(cc="Sue <sue@new.test>")
        message, id_ = await sent(desk, raw, "bob@customer.test", "sue@new.test", "hidden@customer.test")
        await desk.worker.drain()
        (lead,) = await desk.all_records("lead")
        assert (lead.name, lead.source) == ("Sue", "api")
        assert await desk.links(message) == {"contact/1", "contact/2", str(lead.ref)}
        (arrival,) = (await desk.journey_of(message)).arrivals
        assert (arrival.id, arrival.state) == (id_, ArrivalState.RELAYED)


async def test_what_we_send_is_never_held(tmp_path: Path) -> None:
    async with office(tmp_path, user_settings=UserSettings(unknown=Unknown.NOTHING)) as desk:
        for raw in (mail(from_="shop@example.com"), mail(to="ben@example.com")):
            message, _ = await sent(desk, raw, "x@new.test", channel=Channel.SUBMISSION)
            await desk.worker.drain()
            assert (await desk.journey_of(message)).arrivals[0].state is ArrivalState.RELAYED
        assert await desk.waiting() == ()
        assert await desk.is_balanced()


async def test_a_bounce_goes_to_the_records_of_what_was_sent(tmp_path: Path) -> None:
    async with office(tmp_path) as desk:
        await desk.record("contact/1", "bob@customer.test")
        message, id_ = await sent(desk, mail(), "bob@customer.test")
        await desk.worker.drain()
        new = await delivery(desk, message, id_, "bob@customer.test")
        bounce = mail(
            from_="MAILER-DAEMON@mx.customer.test",
            to="b+x@bounce.test",
            subject="Undeliverable",
            content_type="message/delivery-status",
            body=_DSN,
        )
        arrival = await desk.post(bounce, channel=Channel.BOUNCE, delivery=new.id, mail_from=None)
        assert arrival.state is ArrivalState.FILED
        assert await desk.links(arrival) == {"contact/1"}
        assert [link.rule for link in (await desk.journey(arrival)).links] == ["match.return_path"]
        assert await desk.all_records("lead") == ()
        (returned,) = [
            event
            for event in await desk.store.read(events.of_message, desk.org.id, message)
            if event.type == "delivery.returned"
        ]
        assert (returned.delivery, dict(returned.data)["returned"]) == (new.id, arrival.message)
