"""Mail that comes: its listeners and doors, its filing, and the files of it."""

from __future__ import annotations

from datetime import timedelta

from mailrelay.blob.space import space_of
from mailrelay.config.schema import ListenerKind
from mailrelay.daemon.parts import Parts
from mailrelay.filing.attach import AttachmentFiler
from mailrelay.inbound.accept import Acceptor
from mailrelay.inbound.certificate import Certificate
from mailrelay.inbound.ended import EndedAddresses
from mailrelay.inbound.listener import Listeners
from mailrelay.inbound.pipeline import Pipeline
from mailrelay.inbound.recipient import Recipients
from mailrelay.inbound.submission import SubmissionDoor
from mailrelay.inbound.tie import Returns
from mailrelay.inbound.worker import FilingWorker
from mailrelay.outbound.submit import Submitter
from mailrelay.upkeep.descriptors import descriptors


def submitter_of(parts: Parts) -> Submitter:
    """What takes mail to be sent, by HTTP and by SMTP."""
    return Submitter(
        parts.store,
        parts.bodies,
        parts.ids,
        parts.clock,
        parts.config.delivery,
        hostname=parts.config.hostname,
        max_recipients=parts.config.submission.max_recipients,
        domains=parts.config.inbound.domains,
        secrets=parts.secrets,
        has_room=lambda size: space_of(parts.folder.path).takes(size, largest=parts.config.inbound.max_size),
        ahead=timedelta(days=parts.config.submission.schedule_days),
        quotas=parts.config.submission.quotas,
    )


def listeners_of(parts: Parts, submitter: Submitter, certificate: Certificate, ended: EndedAddresses) -> Listeners:
    """The SMTP listeners, with the door behind each."""
    config = parts.config
    edge = Acceptor(
        hostname=config.hostname,
        settings=config.inbound,
        store=parts.store,
        bodies=parts.bodies,
        ids=parts.ids,
        clock=parts.clock,
        recipients=Recipients(
            parts.store,
            parts.clock,
            hostname=config.hostname,
            domains=config.inbound.domains,
            bounce_domain=config.inbound.bounce_domain,
            secrets=parts.secrets,
            feedback_address=config.inbound.feedback_address,
            ended=ended,
        ),
        resolver=parts.resolver,
        space=lambda: space_of(parts.folder.path),
    )
    submission = SubmissionDoor(
        settings=config.submission,
        store=parts.store,
        clock=parts.clock,
        submitter=submitter,
        memory=parts.memory,
        spool=parts.folder.blobs / "incoming",
    )
    return Listeners(
        config.listeners,
        hostname=config.hostname,
        settings=config.inbound,
        certificate=certificate,
        doors={
            ListenerKind.EDGE: edge,
            ListenerKind.SUBMISSION: submission,
            ListenerKind.SUBMISSIONS: submission,
        },
        stopping=parts.stopping,
        memory=parts.memory,
        descriptors=descriptors() * 3 // 4,
    )


def filing_worker(parts: Parts) -> FilingWorker:
    """The worker that files what was accepted."""
    inbound = parts.config.inbound
    pipeline = Pipeline(
        parts.store,
        parts.bodies,
        parts.clock,
        parts.ids,
        resolver=parts.resolver,
        service_domains=frozenset({*inbound.domains, inbound.bounce_domain}),
        returns=Returns(
            secrets=parts.secrets,
            complaint_sources=frozenset(inbound.complaint_sources),
            feedback_address=inbound.feedback_address,
            brakes=parts.config.brakes,
        ),
        verify_timeout=inbound.verify_timeout,
        memory=parts.memory,
    )
    return FilingWorker(
        parts.store,
        pipeline,
        parts.config.filing,
        parts.clock,
        parts.ids,
        node=parts.node,
        stopping=parts.stopping,
    )


def attachment_filer(parts: Parts) -> AttachmentFiler:
    """What files the files of mail to their records (I17)."""
    return AttachmentFiler(
        parts.store,
        parts.bodies,
        parts.contents,
        parts.clock,
        new_id=parts.ids.attachment,
        stopping=parts.stopping,
        memory=parts.memory,
    )
