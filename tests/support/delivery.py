"""A delivery as tests of policies and of the store need it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from mailrelay.clock import Clock
from mailrelay.ids import Digest, IdFactory, MessageId, OrgId, QueueId
from mailrelay.model.address import Address
from mailrelay.model.delivery import Delivery, DeliveryState
from mailrelay.model.envelope import Channel, EnvelopeRecipient, MailParams
from mailrelay.model.message import BlobRef


def a_delivery(clock: Clock, recipient: str = "bob@b.test", **more: Any) -> Delivery:
    """A queued delivery that is not stored, of anna@a.test unless said otherwise."""
    local, _, domain = recipient.rpartition("@")
    made = Delivery(
        id=IdFactory(clock.now).delivery(),
        org=OrgId("O1"),
        message=MessageId("M1"),
        queue_id=QueueId("Q1"),
        channel=Channel.API,
        mail_from=Address("anna", "a.test"),
        params=MailParams(),
        recipient=EnvelopeRecipient(address=Address(local, domain)),
        state=DeliveryState.QUEUED,
        raw=BlobRef(digest=Digest("0" * 64), size=10),
        created_at=clock.now(),
        due_at=clock.now(),
        expires_at=clock.now() + timedelta(days=5),
        attempts=0,
        last_reply="",
        lease=None,
    )
    return replace(made, **more)
