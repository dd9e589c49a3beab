"""Suppresses addresses because of answers about deliveries to them: dead ones at once, others after soft bounces in a row (I11).

A batch asks for all of its addresses at once: bounces come by the hundred, when a list is old or a host goes away.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial

from mailrelay import log, metrics
from mailrelay.ids import OrgId
from mailrelay.model.delivery import Delivery
from mailrelay.model.settings import OrganisationSettings
from mailrelay.model.suppression import Suppression, SuppressionReason
from mailrelay.outbound.policy import standing
from mailrelay.outbound.verdict import Answered, evidence, one_line
from mailrelay.store import deliveries, organisations, suppressions
from mailrelay.store.base import Tx

_logger = log.get()


def by_bounces(tx: Tx, *, dead: Sequence[Answered], soft: Sequence[Answered], at: datetime) -> None:
    """Suppress the addresses that are dead by these answers, and those of whose soft bounces one of these was too many.

    Each of `soft` is written already as its delivery's end.
    """
    wanted = [
        (one.delivery, _suppression(one, SuppressionReason.HARD_BOUNCE, evidence(one, at), at=at)) for one in dead
    ]
    by_org: defaultdict[OrgId, dict[str, Answered]] = defaultdict(dict)
    for one in soft:
        by_org[one.delivery.org].setdefault(one.delivery.address.key, one)
    for org, of_keys in sorted(by_org.items()):
        for key, sentence in _too_many(tx, org, sorted(of_keys), at=at):
            one = of_keys[key]
            wanted.append((one.delivery, _suppression(one, SuppressionReason.SOFT_BOUNCES, sentence, at=at)))
    addresses(tx, wanted)


def addresses(tx: Tx, wanted: Sequence[tuple[Delivery, Suppression]]) -> None:
    """Suppress addresses, each because of a delivery, and tell of those that were not yet."""
    if not wanted:
        return
    because = {(one.org, one.key, one.reason): delivery for delivery, one in reversed(wanted)}
    for one in suppressions.suppress_all(tx, [one for _, one in wanted]):
        tx.afterwards(partial(_told_suppressed, because[one.org, one.key, one.reason], one))


def _too_many(tx: Tx, org: OrgId, keys: Sequence[str], *, at: datetime) -> Iterable[tuple[str, str]]:
    """Those of these addresses (by key) that have had too many soft bounces in a row, with the sentence that says so."""
    settings = organisations.get(tx, org).settings
    if not settings.soft_bounces:
        return
    since = standing.window(settings, now=at, lifted_at=None)
    soft = deliveries.soft_ends(tx, org, keys, since=since)
    # Most have had too few altogether, in whatever order: only the others' history is looked at.
    likely = sorted(key for key, number in soft.items() if number >= settings.soft_bounces)
    lifted = suppressions.lifted(tx, org, likely)
    for key in likely:
        sentence = standing.too_many(_history(tx, org, key, settings), settings, now=at, lifted_at=lifted.get(key))
        if sentence is not None:
            yield key, sentence


def _history(tx: Tx, org: OrgId, key: str, settings: OrganisationSettings) -> Sequence[standing.End]:
    return [
        standing.End(
            state=end.state,
            hard=end.hard,
            fault=end.fault,
            category=end.category,
            at=end.at,
            said=one_line(end.last_reply),
        )
        for end in deliveries.ends(tx, org, key, limit=10 * settings.soft_bounces + 50)
    ]


def _suppression(one: Answered, reason: SuppressionReason, seen: str, *, at: datetime) -> Suppression:
    return Suppression(
        org=one.delivery.org,
        key=one.delivery.address.key,
        reason=reason,
        since=at,
        evidence=seen,
        by=one.by,
        lifted_at=None,
    )


def _told_suppressed(delivery: Delivery, one: Suppression) -> None:
    metrics.suppressions.labels(one.reason).inc()
    _logger.info(
        "address.suppressed",
        org=delivery.org,
        delivery=delivery.id,
        recipient=str(delivery.address),
        reason=str(one.reason),
        evidence=one.evidence,
    )
