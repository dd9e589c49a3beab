"""DMARC: does SPF or DKIM speak for the domain that people see in From (I2, RFC 9989)?

The organisational domain is found by the tree walk of RFC 9989 §4.10. Where nobody on the way publishes a record, the Public
Suffix List says which domains belong together: not for DMARC's own verdict, which is then none, but for I2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mailrelay.mail.spf import SpfResult
from mailrelay.mail.suffix import registrable
from mailrelay.model.lookup import Answer, Dialogue, LookupStatus, Question, RecordType
from mailrelay.model.message import DkimResult, Verdict

_MAX_LABELS = 8  # RFC 9989 §4.10: longer names are cut to seven labels after the first question
_POLICIES = ("none", "quarantine", "reject")
_MAX_RECORD = 4096


@dataclass(frozen=True, slots=True)
class DmarcResult:
    """`policy` is what the domain owner asks for a failure, "" without a record; `aligned` is what I2 asks."""

    verdict: Verdict
    policy: str
    aligned: bool
    organisational: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Record:
    domain: str
    tags: dict[str, str]

    def get(self, tag: str, default: str) -> str:
        return self.tags.get(tag, default).lower()


@dataclass(frozen=True, slots=True)
class _Walk:
    """What the tree walk from `start` met: records from the longest name to the shortest; `failed` when DNS did."""

    start: str
    records: tuple[_Record, ...]
    failed: str = ""

    @property
    def organisational(self) -> str:
        """RFC 9989 §4.10.2; `start` itself when nothing was found."""
        for record in self.records:
            if record.get("psd", "u") == "n":
                return record.domain
            if record.get("psd", "u") == "y" and record.domain != self.start:
                extra = self.start.removesuffix("." + record.domain).split(".")
                return f"{extra[-1]}.{record.domain}"
        return self.records[-1].domain if self.records else self.start


def evaluate(from_domain: str, spf: SpfResult, dkim: Sequence[DkimResult]) -> Dialogue[DmarcResult]:
    """DMARC's verdict on a header sender at `from_domain` (A-labels), and whether I2 may trust it. Never raises.

    At most eight questions for From and eight for each domain under its organisational domain; strangers cost none.
    """
    if "." not in from_domain or from_domain.startswith("["):
        return DmarcResult(Verdict.NONE, "", aligned=False, organisational="", reason="From has no domain")
    passed = _passing(spf, dkim)
    exact = any(domain == from_domain for domain in passed.values())
    walk = yield from _walk(from_domain)
    if walk.failed:
        return DmarcResult(Verdict.TEMPERROR, "", aligned=exact, organisational="", reason=walk.failed)
    record = next((one for one in walk.records if one.domain in (from_domain, walk.organisational)), None)
    if record is None and walk.records:
        record = walk.records[-1]  # that of a public suffix (psd=y)
    if record is None:
        owner = registrable(from_domain)
        aligned = exact or any(registrable(domain) == owner for domain in passed.values())
        return DmarcResult(Verdict.NONE, "", aligned=aligned, organisational=owner)
    policy = yield from _policy(record, from_domain)
    if not policy:
        return DmarcResult(
            Verdict.PERMERROR, "", aligned=exact, organisational=walk.organisational, reason="no valid p="
        )
    aligned, strictly = exact, False
    for (method, _), domain in passed.items():
        relaxed = domain == from_domain or (yield from _same_organisation(domain, walk))
        strict = record.get("a" + method, "r") == "s"
        aligned = aligned or relaxed
        strictly = strictly or (domain == from_domain if strict else relaxed)
    return DmarcResult(
        _verdict(from_domain, spf, dkim, walk.organisational, met=strictly), policy, aligned, walk.organisational
    )


def _passing(spf: SpfResult, dkim: Sequence[DkimResult]) -> dict[tuple[str, int], str]:
    """(method, number) → the domain that passed."""
    passed = {("dkim", number): one.domain for number, one in enumerate(dkim) if one.verdict is Verdict.PASS}
    if spf.verdict is Verdict.PASS:
        passed["spf", 0] = spf.domain
    return passed


def _verdict(
    from_domain: str, spf: SpfResult, dkim: Sequence[DkimResult], organisational: str, *, met: bool
) -> Verdict:
    if met:
        return Verdict.PASS
    # What could not be decided may have been the one that aligns: ask again rather than condemn.
    undecided = [spf.domain] if spf.verdict is Verdict.TEMPERROR else []
    undecided += [one.domain for one in dkim if one.verdict is Verdict.TEMPERROR]
    if any(domain == from_domain or _under(domain, organisational) for domain in undecided):
        return Verdict.TEMPERROR
    return Verdict.FAIL


def _policy(record: _Record, from_domain: str) -> Dialogue[str]:
    """What the record asks for mail of `from_domain`; "" when it asks nothing that can be read (RFC 9989 §4.7)."""
    general = record.get("p", "")
    if general not in _POLICIES:
        if "rua" not in record.tags:
            return ""
        general = "none"
    if record.domain == from_domain:
        return general
    for_subdomains = record.get("sp", general)
    chosen = for_subdomains if for_subdomains in _POLICIES else general
    if record.get("np", "") in _POLICIES and not (yield from _exists(from_domain)):
        chosen = record.get("np", "")
    return chosen


def _exists(domain: str) -> Dialogue[bool]:
    # RFC 9989 §3.2.10: a name is non-existent when A, AAAA and MX all find nothing.
    for kind in (RecordType.MX, RecordType.A, RecordType.AAAA):
        answer = yield Question(kind, domain)
        if answer.status is LookupStatus.NO_NAME:
            return False
        if answer.status is not LookupStatus.EMPTY:
            return True
    return False


def _same_organisation(domain: str, walk: _Walk) -> Dialogue[bool]:
    # A walk up from a domain that is not under the organisational domain never meets it, so it need not be made.
    if not _under(domain, walk.organisational):
        return False
    if domain == walk.organisational:
        return True
    other = yield from _walk(domain)
    return not other.failed and other.organisational == walk.organisational


def _under(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith("." + parent)


def _walk(start: str) -> Dialogue[_Walk]:
    records: list[_Record] = []
    for target in _targets(start):
        answer = yield Question(RecordType.TXT, "_dmarc." + target)
        if answer.status is LookupStatus.TEMPORARY:
            return _Walk(start, tuple(records), failed=f"_dmarc.{target}: {answer.detail}")
        record = _record(target, answer)
        if record is None:
            continue
        records.append(record)
        psd = record.get("psd", "u")
        if psd == "n" or (psd == "y" and target != start):
            break
    return _Walk(start, tuple(records))


def _targets(start: str) -> list[str]:
    labels = start.split(".")
    rest = labels[1:] if len(labels) < _MAX_LABELS else labels[-(_MAX_LABELS - 1) :]
    return [start, *(".".join(rest[number:]) for number in range(len(rest)))]


def _record(domain: str, answer: Answer) -> _Record | None:
    """The one DMARC record of an answer; None for none and for more than one (RFC 9989 §4.10)."""
    found = [tags for text in answer.strings if (tags := _tags(text)) is not None]
    return _Record(domain, found[0]) if len(found) == 1 else None


def _tags(text: bytes) -> dict[str, str] | None:
    """Tags of a record, unknown ones too; None when it is no DMARC record. A tag that cannot be read is left out."""
    pairs = [part.partition("=") for part in text[:_MAX_RECORD].decode("ascii", "replace").split(";")]
    tags = [(name.strip().lower(), value.strip()) for name, equals, value in pairs if equals]
    # RFC 9989 §4.7: v=DMARC1 comes first, and is told by case.
    if not tags or tags[0] != ("v", "DMARC1"):
        return None
    return dict(reversed(tags))
