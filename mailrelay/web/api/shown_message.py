"""How a message and its journey are answered (I9, K1)."""

from __future__ import annotations

from datetime import datetime

from mailrelay.model.decision import Disposition, Finding, FindingKind
from mailrelay.model.delivery import MessageStatus, message_status
from mailrelay.model.envelope import Channel
from mailrelay.model.message import Direction, Kind, Message, ParticipantRole, Verdict
from mailrelay.store.filings import Journey
from mailrelay.web.api.events import ShownEvent
from mailrelay.web.api.hits import ShownAggregate
from mailrelay.web.api.queue import DeliveryHistory, ShownFeedback
from mailrelay.web.shape import MailAddress, Ref, Shown


class ShownParticipant(Shown):
    """Somebody in a message, and where they stand in it."""

    role: ParticipantRole
    address: MailAddress
    name: str


class ShownFile(Shown):
    """An attachment."""

    name: str
    type: str
    size: int
    sha256: str


class ShownSignature(Shown):
    """What became of one DKIM signature."""

    verdict: Verdict
    domain: str
    selector: str
    reason: str


class ShownVerdicts(Shown):
    """What SPF, DKIM and DMARC said by our own check."""

    spf: Verdict
    spf_domain: str
    spf_reason: str
    dkim: tuple[ShownSignature, ...]
    dmarc: Verdict
    dmarc_policy: str
    aligned: bool


class ShownMessage(Shown):
    """A message, stored once however many ways it came. `message_id` is its Message-ID field without brackets.

    `status` is how far it came on its way out, over all its recipients (K1); null for a mail that we do not send.
    """

    id: str
    direction: Direction
    status: MessageStatus | None
    queue_id: str
    message_id: str | None
    subject: str
    size: int
    sent_at: datetime | None
    received_at: datetime
    participants: tuple[ShownParticipant, ...]
    attachments: tuple[ShownFile, ...]
    auth: ShownVerdicts | None
    kind: Kind
    automatic: str
    part: int

    @classmethod
    def of(cls, one: Message, status: MessageStatus | None) -> ShownMessage:
        """The message as it is answered."""
        return cls(
            id=one.id,
            direction=one.direction,
            status=status,
            queue_id=one.queue_id,
            message_id=one.message_id,
            subject=one.subject,
            size=one.raw.size,
            sent_at=one.sent_at,
            received_at=one.received_at,
            participants=tuple(ShownParticipant.model_validate(person) for person in one.participants),
            attachments=tuple(ShownFile.model_validate(file) for file in one.attachments),
            auth=None if one.auth is None else ShownVerdicts.model_validate(one.auth),
            kind=one.kind,
            automatic=one.automatic,
            part=one.part,
        )


class ListedMessage(ShownMessage):
    """A message of a list, with the records it is on."""

    records: tuple[Ref, ...]


class ShownEvidence(Shown):
    """Why: a sentence, and the header and value that were looked at."""

    because: str
    header: str
    value: str


class ShownLink(Shown):
    """A link to a record. `by` is "rule" or who made it by hand; `removed_at` when it was taken away, by `removed_by`."""

    record: Ref
    rule: str
    evidence: tuple[ShownEvidence, ...]
    by: str
    guess: bool
    created_at: datetime
    removed_at: datetime | None
    removed_by: str | None


class ShownFinding(Shown):
    """What one rule said; kind "miss" when it looked and found nothing."""

    rule: str
    kind: FindingKind
    evidence: tuple[ShownEvidence, ...]
    record: Ref | None
    creates: str
    reason: str
    guess: bool

    @classmethod
    def of(cls, one: Finding) -> ShownFinding:
        """The finding as it is answered."""
        made = one.creation
        return cls(
            rule=one.rule,
            kind=one.kind,
            evidence=tuple(ShownEvidence.model_validate(evidence) for evidence in one.evidence),
            record=one.record,
            creates="" if made is None else f"{made.module} {made.name} <{made.address}>",
            reason=one.reason,
            guess=one.guess,
        )


class ShownFiling(Shown):
    """A decision: every rule that ran, in order, hits and misses."""

    arrival: str
    decided_at: datetime
    disposition: Disposition
    reason: str
    explanation: str
    findings: tuple[ShownFinding, ...]


class ShownSource(Shown):
    """One way by which a message came, or left."""

    arrival: str
    channel: Channel
    user: str | None
    at: datetime


class ShownJourney(ShownMessage):
    """A message with its whole journey.

    `reply` is the new text of a reply-mail, without quotes and signature; `feedback` what a mail that came back says; `aggregate`
    how often it was opened and clicked, where no person is recorded and it went to five or more.
    """

    reply: str
    feedback: tuple[ShownFeedback, ...]
    links: tuple[ShownLink, ...]
    filings: tuple[ShownFiling, ...]
    sources: tuple[ShownSource, ...]
    attached: tuple[str, ...]
    deliveries: tuple[DeliveryHistory, ...]
    aggregate: tuple[ShownAggregate, ...]
    events: tuple[ShownEvent, ...]

    @classmethod
    def told(cls, one: Journey, silent_since: datetime) -> ShownJourney:
        """The journey as it is answered; what was sent by `silent_since` and did not bounce counts as delivered (K1)."""
        return cls(
            **ShownMessage.of(
                one.message, message_status([delivery.status_when(silent_since) for delivery, _ in one.deliveries])
            ).model_dump(),
            links=tuple(ShownLink.model_validate(link) for link in one.links),
            filings=tuple(
                ShownFiling(
                    arrival=filing.arrival,
                    decided_at=filing.decided_at,
                    disposition=filing.disposition,
                    reason=filing.reason,
                    explanation=filing.explanation,
                    findings=tuple(ShownFinding.of(finding) for finding in filing.findings),
                )
                for filing in one.filings
            ),
            sources=tuple(ShownSource.model_validate(source) for source in one.sources),
            attached=one.attached,
            reply=one.message.reply,
            feedback=tuple(ShownFeedback.model_validate(each) for each in one.feedback),
            deliveries=tuple(
                DeliveryHistory.told(
                    delivery, attempts, one.returned, one.engagements.get(delivery.id), silent_since=silent_since
                )
                for delivery, attempts in one.deliveries
            ),
            aggregate=tuple(ShownAggregate.of(count) for count in one.counted),
            events=tuple(ShownEvent.of(event) for event in one.events),
        )
