"""What becomes of a message: pure rules, one file each, and the decision made of what they say (I2–I7, I22, I23).

`decide` runs the stages in order and keeps hits and misses. A rule is added by adding a file; see `registry`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mailrelay.model.decision import (
    BY_RULE,
    Decision,
    Disposition,
    Evidence,
    Finding,
    FindingKind,
    ProposedCreation,
    ProposedLink,
)
from mailrelay.model.record import RecordRef
from mailrelay.rules.facts import Facts
from mailrelay.rules.registry import REGISTRY, Progress, RuleInfo, Stage, scan

_BEFORE_HOLD = (Stage.EXCLUDE, Stage.HOLD)


def decide(facts: Facts) -> Decision:
    """What the rules make of a message. Pure: the same facts give the same decision.

    A mail that is to be held is held even where it would be dropped (I2: never lost); after either, no record is looked for.
    Nothing that a person took away is proposed again (I7, I9).
    """
    so_far = Progress()
    for stage in Stage:
        if so_far.stopped and stage not in _BEFORE_HOLD:
            break
        for rule in REGISTRY.of(stage):
            said = (_unless_removed(facts, finding) for finding in rule.findings(facts, so_far))
            so_far = Progress((*so_far.findings, *said))
    return _decision(so_far)


def listing() -> tuple[RuleInfo, ...]:
    """All rules in the order in which they run, for `mailrelay rules list` and docs/rules.md."""
    return REGISTRY.listing()


def _unless_removed(facts: Facts, finding: Finding) -> Finding:
    """The finding, or a MISS where it asks for a link that a person removed."""
    if finding.kind is FindingKind.LINK:
        for standing in facts.standing:
            if standing.removed and standing.by != BY_RULE and standing.record == finding.record:
                because = f"{standing.record} was unlinked by {standing.by}, and that stands"
                evidence = (*finding.evidence, Evidence(because=because, value=str(standing.record)))
                return replace(finding, kind=FindingKind.MISS, evidence=evidence)
    return finding


def _decision(so_far: Progress) -> Decision:
    ends = so_far.of(FindingKind.HOLD) or so_far.of(FindingKind.DROP)
    disposition, reason, explanation = Disposition.FILE, "", ""
    if ends:
        disposition = Disposition.HOLD if ends[0].kind is FindingKind.HOLD else Disposition.DROP
        reason, explanation = ends[0].reason, ends[0].evidence[0].because
    return Decision(
        disposition=disposition,
        reason=reason,
        explanation=explanation,
        links=() if ends else _links(so_far),
        creations=() if ends else _creations(so_far),
        findings=so_far.findings,
    )


def _links(so_far: Progress) -> tuple[ProposedLink, ...]:
    """One link for each record: by the first rule that asks for it, with the evidence of all."""
    said: dict[RecordRef, list[Finding]] = {}
    for finding in so_far.of(FindingKind.LINK):
        if finding.record is not None:
            said.setdefault(finding.record, []).append(finding)
    return tuple(_link(record, findings) for record, findings in said.items())


def _link(record: RecordRef, findings: Sequence[Finding]) -> ProposedLink:
    # A link that is known without a Bcc tells nothing of it (I16).
    told = [one for one in findings if not one.secret] or findings
    return ProposedLink(
        record=record,
        rule=told[0].rule,
        evidence=tuple(dict.fromkeys(evidence for one in told for evidence in one.evidence)),
        guess=all(one.guess for one in findings),
        secret=told[0].secret,
    )


def _creations(so_far: Progress) -> tuple[ProposedCreation, ...]:
    creations: dict[str, ProposedCreation] = {}
    for finding in so_far.of(FindingKind.CREATE):
        if finding.creation is not None:
            creations.setdefault(
                finding.creation.address.key,
                ProposedCreation(
                    creation=finding.creation, rule=finding.rule, evidence=finding.evidence, secret=finding.secret
                ),
            )
    return tuple(creations.values())


for _stage in Stage:
    scan(f"{__name__}.{_stage}")
