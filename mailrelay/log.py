"""The structured log: JSON lines (or coloured text on a terminal), each with a stable event name.

Names are `noun.past-participle` out of `CATALOGUE`; the queue id, once bound, follows a message from the SMTP reply to its end.
"""

from __future__ import annotations

import logging
import sys
from contextlib import AbstractContextManager

import structlog
from structlog.typing import FilteringBoundLogger

CATALOGUE: dict[str, str] = {
    "address.resubscribed": "somebody who had unsubscribed wants mail again, by their own word",
    "address.suppressed": "an answer made an address one that must not be sent to",
    "address.unsubscribed": "somebody wants no more mail, of a list or at all",
    "answer.withheld": "an automatic answer was asked for and not sent, and why (RFC 3834)",
    "unsubscription.delayed": "the store did not take an unsubscription; whoever asked was told to come again",
    "arrival.accepted": "a mail was made durable and answered 250",
    "arrival.ended": "an arrival was filed, dropped or recognised as a duplicate",
    "arrival.held": "an arrival waits in the unresolved list",
    "arrival.retried": "filing raised; the arrival will be tried again",
    "arrival.set-aside": "filing raised too often; the arrival waits for a person, with its traceback",
    "attempt.began": "a delivery attempt was written down and is about to dial",
    "tracking.failed": "our own code raised while a copy was given its pixel and links; it left as it was",
    "attempt.failed": "our own code raised during a delivery attempt; the delivery is kept and will be tried again",
    "attempt.stopped": "a delivery attempt was broken off by no fault of the mail: the store is away, or its lease was lost",
    "attachment.delayed": "a file of a mail could not be filed to its record, or its bytes not be removed; tried again, why is beside it",
    "attachment.failed": "the files of a mail could not be read, and are not filed to its records; they stay in the mail",
    "attachment.filed": "a file of a mail was filed to a record",
    "attachments.delayed": "nothing could be filed to records for now; why is beside it",
    "audit.unbalanced": "accepted is not ended plus in flight; `mailrelay audit` names the messages",
    "authentication.refused": "wrong credentials on submission or the API",
    "author.notified": "a DSN was queued for the author of a mail",
    "certificate.refused": "a certificate could not be loaded; the old one stays in use",
    "claim.failed": "the store did not give or take back work in time; it will be asked again",
    "clock.stepped": "the machine's clock was set while we ran; mail goes on by what it would be, and nothing expires of it",
    "consequence.failed": "our own code raised while acting on an answer; the answer itself is kept, what follows from it is not done",
    "daemon.ready": "all services run and all listeners listen",
    "daemon.started": "the process started",
    "daemon.stopped": "the process ended in order",
    "daemon.stopping": "a stop was asked for; nothing new is taken",
    "delivery.bounced": "the next hop refused a recipient for good",
    "delivery.cancelled": "somebody cancelled a delivery; nothing was sent",
    "delivery.deferred": "the next hop put a recipient off; it will be tried again",
    "delivery.expired": "a delivery was tried until its end without success",
    "delivery.failed": "a delivery could not be offered to anyone",
    "delivery.held": "a delivery was set aside until a person decides: as poison, or since it may have gone out already; held_by says which",
    "delivery.interrupted": "a dialogue broke off",
    "delivery.sent": "the next hop accepted a recipient",
    "delivery.suppressed": "a recipient was suppressed after it was queued",
    "disk.filled": "no space; mail is refused for now with 452",
    "dns.failed": "a DNS question got no usable answer",
    "facts.delayed": "what records are found by could not be kept up with the journal for now; nothing of it is lost",
    "feedback.ignored": "a mail that came back carries a token of ours that is forged, too old or another organisation's",
    "feedback.received": "a mail came back, or speaks of one of ours: its kind, its delivery, whether it was acted on",
    "hits.deferred": "the store does not take hits of pixels and links now; they wait, on the disk too",
    "hits.dropped": "hits that were acknowledged are lost: no room anywhere, damaged, or our own code failed on them; at most once a minute",
    "hits.failed": "our own code raised on a hit; it is set aside in the folder of hits, the others are taken",
    "hits.resumed": "hits that an earlier run left on the disk are taken now",
    "hits.stripped": "hits are older than their organisation keeps raw signals: addresses, programs and header fields of them are forgotten",
    "hits.unreadable": "hits that are on the disk cannot be read now; new ones are taken",
    "hits.unspooled": "hits cannot be written to the disk, or taken off it; what the store does not take waits in memory while there is room",
    "hop.failed": "a next hop could not be used; the next one is tried, or the mail deferred",
    "lease.adrift": "deliveries that this process had claimed and no longer had in hand were put back into the queue",
    "lease.ended": "a process gave no more signs of life; what it had taken was put back into the queue",
    "lease.lost": "a claimed row was taken over by another node before it was settled",
    "listener.opened": "a listener listens",
    "message.filed": "a message was linked to its records",
    "message.submitted": "an outgoing message was queued",
    "notice.failed": "our own code raised while a DSN was made; it is still owed and will be tried again",
    "notice.withheld": "a DSN was owed to an author who cannot be written to; the reason is beside it",
    "organisation-address.made": "a shared address takes mail from now on",
    "organisation-address.removed": "a shared address takes no mail any more",
    "person.erased": "what was recorded of somebody is gone, and how much that was; never whose address it is",
    "policy.fetched": "the MTA-STS policy of a destination was fetched",
    "policy.not-fetched": "the MTA-STS policy of a destination could not be fetched; what was fetched before holds until its end",
    "operation.ended": "what somebody did to many deliveries is done: what, how many, how many were left as they are and why",
    "operation.failed": "our own code raised during an operation on deliveries; they are taken one by one, past the one it fails on",
    "queue.asleep": "destinations were found that nothing would have woken for their mail; they are awake now, and it is a fault of ours",
    "queue.late": "deliveries or arrivals were due later than any is: the clock was set back; they are due now",
    "rcpt.refused": "a recipient was refused in the dialogue",
    "record-address.ended": "the address of a record was revoked, or has another in its place",
    "record-address.made": "a record has an address of its own from now on",
    "record.created": "a record was created for a new correspondent",
    "request.failed": "an HTTP request raised; it was answered 500, or 503 where the store has failed",
    "rerun.failed": "our own code raised on a mail while the rules were run again; it is left as it was, and the run goes on",
    "sender.blamed": "an answer blames the sender, not the recipient",
    "sending.resumed": "the operator let mail of all organisations go again",
    "sending.suspended": "mail is held until somebody resumes it: of a job or a domain, to a destination or by a source",
    "sending.warned": "a rate of a job or domain comes near its brake",
    "service.failed": "a service raised and will be restarted after a pause",
    "session.failed": "an SMTP command raised; it was answered 451",
    "session.refused": "a connection was refused or cut",
    "smart-host.added": "a user or domain has a smart host of its own from now on",
    "smart-host.removed": "a user's or domain's own smart host is used no more",
    "smart-host.shut": "a smart host refuses our credentials or our mail; what goes to it waits, and nothing bounces for it",
    "smart-host.unsaved": "a new refresh token could not be written down; the one before is used",
    "source.missing": "an egress source has an address that this machine does not have; mail that leaves by it waits",
    "storage.full": "there is no room for an organisation's attachments within its limit; its mail is filed, and has its files",
    "store.migrated": "the schema was brought up to date",
    "store.restored": "the first start on a backup: mass mail is held as unconfirmed, the rest goes, perhaps again",
    "tls-count.lost": "sessions were not counted for the TLS reports: the store did not take them, or there were too many kinds",
    "tls-report.failed": "the TLS report of a day could not be sent; there is no second try",
    "tls-report.sent": "a destination was sent the TLS report of a day",
    "tls.failed": "a host did not meet what its destination demands of TLS; nothing was sent to it in clear",
    "tls.fell": "a host has less TLS than could be: no certificate that proves its name, or none at all, and why",
    "trace.failed": "our own code raised during a trace that the operator asked for",
    "transaction.refused": "a mail was refused in the dialogue",
    "way.paused": "nothing goes to a site for a while: nobody answers there, or it shuts us out; the reason is beside it",
    "way.recovered": "a site that was slowed down or paused has all its limits back",
    "way.slowed": "a site asked to be sent less: connections and rate fell, and recover by themselves",
    "webhook.added": "an organisation's events are sent to a URL from now on",
    "webhook.changed": "somebody changed a webhook, rotated its secret, enabled it, or had events sent again: what is beside it",
    "webhook.disabled": "nothing more is sent to a webhook: its receiver is gone or takes nothing (an error), or its user or token is over",
    "webhook.failed": "our own code failed on a request to a webhook; it is made again",
    "webhook.given-up": "events were not taken by a webhook within their lifetime; they are its dead letters",
    "webhook.refused": "a webhook did not take an event, and why; it is tried again",
    "webhook.removed": "nothing more is sent to a webhook, for good",
    "webhook.sent": "a webhook took an event",
}
"""Every event name and what it means; `docs/operate/logs.md` is made of it."""


def configure(*, level: str = "info", json: bool | None = None) -> None:
    """Set the log up for this process: JSON lines on standard error unless `json` is False, or it is a terminal and None."""
    as_json = (not sys.stderr.isatty()) if json is None else json
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries speak through the standard logging; only their warnings interest us, on the same stream.
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s", force=True
    )
    # aiosmtpd logs a client's every command at INFO, credentials included (A06).
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)


def get(**context: object) -> FilteringBoundLogger:
    """A logger with `context` on every line."""
    logger: FilteringBoundLogger = structlog.get_logger(**context)
    return logger


def bound(**context: object) -> AbstractContextManager[object]:
    """Put `context` (queue_id, org, message) on every line logged inside the `with` block, by whatever it calls."""
    return structlog.contextvars.bound_contextvars(**context)
