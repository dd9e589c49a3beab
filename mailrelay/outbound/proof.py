"""Has a domain proved that mail may leave as it (O2)? DKIM, SPF and DMARC looked up, and each explained.

The DKIM key decides: who can publish our key in a domain's zone owns the domain, and every mail then passes DMARC by its
signature. SPF says nothing of a From domain (the return path is ours), and a missing DMARC record harms delivery, not proof;
both are explained so that an administrator can mend them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mailrelay.model.lookup import Answer, Dialogue, LookupStatus, Question, RecordType


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked up: what was asked of DNS, whether it is in order, and a sentence."""

    what: str
    name: str
    passed: bool
    explanation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What DNS says of a domain. `proved` None: DNS gave no answer, so that an older verdict holds."""

    domain: str
    proved: bool | None
    checks: tuple[Check, ...]

    @property
    def explanation(self) -> str:
        """All in one text, a line each."""
        return "\n".join(
            f"{'ok' if check.passed else 'missing'}: {check.what} {check.name}: {check.explanation}"
            for check in self.checks
        )


def prove(domain: str, keys: Mapping[str, str]) -> Dialogue[Proof]:
    """Look a domain up; `keys` is selector → public key (base 64) of every key that signs for it now."""
    checks: list[Check] = []
    undecided = False
    for selector, public in sorted(keys.items()):
        name = f"{selector}._domainkey.{domain}"
        answer = yield Question(RecordType.TXT, name)
        undecided = undecided or answer.status is LookupStatus.TEMPORARY
        checks.append(_dkim(name, public, answer))
    if not keys:
        checks.append(
            Check(what="DKIM", name=domain, passed=False, explanation="there is no key yet; make one and publish it")
        )
    proved = None if undecided else all(check.passed for check in checks)
    spf = yield Question(RecordType.TXT, domain)
    checks.append(_spf(domain, spf))
    dmarc = yield Question(RecordType.TXT, f"_dmarc.{domain}")
    checks.append(_dmarc(domain, dmarc))
    return Proof(domain=domain, proved=proved, checks=tuple(checks))


def _dkim(name: str, public: str, answer: Answer) -> Check:
    published = [_tag(text, b"p") for text in answer.strings]
    if public.encode() in published:
        return Check(what="DKIM", name=name, passed=True, explanation="our key is published")
    if published:
        because = "another key is published here; replace it by ours"
    elif answer.status is LookupStatus.TEMPORARY:
        because = f"DNS gave no answer ({answer.detail}); it will be asked again"
    else:
        because = "nothing is published here; publish the line that `mailrelay domain dns` prints"
    return Check(what="DKIM", name=name, passed=False, explanation=because)


def _spf(domain: str, answer: Answer) -> Check:
    records = [text for text in answer.strings if text.lower().split(b" ")[0] == b"v=spf1"]
    if len(records) > 1:
        because = "there are several records, which counts as an error (RFC 7208 §4.5); keep one"
    elif records:
        because = "there is a record; mail passes DMARC by its DKIM signature, so it need not name us"
    else:
        because = "there is no record; mail passes DMARC by its DKIM signature, but some receivers ask for both"
    return Check(what="SPF", name=domain, passed=len(records) == 1, explanation=because)


def _dmarc(domain: str, answer: Answer) -> Check:
    name = f"_dmarc.{domain}"
    records = [text for text in answer.strings if text.startswith(b"v=DMARC1")]
    if len(records) != 1:
        return Check(
            what="DMARC",
            name=name,
            passed=False,
            explanation='publish "v=DMARC1; p=none" at least: large receivers ask it of senders',
        )
    policy = _tag(records[0], b"p").decode("ascii", "replace") or "none"
    return Check(what="DMARC", name=name, passed=True, explanation=f"the policy is {policy}")


def _tag(record: bytes, tag: bytes) -> bytes:
    """The value of one tag of a DKIM or DMARC record, without white space; b"" when it is not there."""
    for part in record.split(b";"):
        name, _, value = part.partition(b"=")
        if name.strip() == tag:
            return b"".join(value.split())
    return b""
