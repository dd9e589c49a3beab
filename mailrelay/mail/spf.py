"""SPF: may this address send for this domain (I2, RFC 7208)?

The rules are pyspf's, which no other file imports. It asks DNS while it evaluates; here it is run again with each new answer,
so that no thread waits and no global is touched: at most some 120 runs of 0.1 ms, and mostly two or three.
"""

from __future__ import annotations

import ipaddress
import warnings
from dataclasses import dataclass

from mailrelay.model.address import Address
from mailrelay.model.lookup import Answer, Dialogue, LookupStatus, Question, RecordType
from mailrelay.model.message import Verdict

with warnings.catch_warnings():
    # pyspf is of 2020 and has escapes in its docstrings that Python warns about, or refuses under `-W error`.
    warnings.simplefilter("ignore")
    import spf

_MAX_QUESTIONS = 150
"""More than the limits of RFC 7208 §4.6.4 allow (10 terms, each an MX of 10 names); it only ends what would be a bug."""


@dataclass(frozen=True, slots=True)
class SpfResult:
    """`domain` is the one that was checked, in A-labels: of MAIL FROM, or of HELO for the null reverse-path."""

    verdict: Verdict
    domain: str
    reason: str = ""


def check(ip: str, mail_from: Address | None, helo: str) -> Dialogue[SpfResult]:
    """What `mail_from`'s domain says of a client at `ip`; for the null reverse-path, what `helo`'s says. Never raises.

    10 terms with lookups, 2 void lookups and 10 MX or PTR names, else permerror. The 20 seconds of RFC 7208 §4.6.4 are
    the caller's to count.
    """
    # RFC 7208 §2.4: with a null reverse-path the identity is postmaster at the HELO name.
    local, domain = (mail_from.local, mail_from.domain) if mail_from else ("postmaster", helo.rstrip(".").lower())
    if not _is_name(domain):
        return SpfResult(Verdict.NONE, domain if domain.isascii() else "", "not a domain name")
    try:
        ipaddress.ip_address(ip)
    except ValueError:
        return SpfResult(Verdict.NONE, domain, "the client has no IP address")
    answers: dict[Question, Answer] = {}
    while len(answers) < _MAX_QUESTIONS:
        try:
            return _evaluate(ip, local, domain, helo, answers)
        except _NeedsAnswer as need:
            answers[need.question] = yield need.question
    return SpfResult(Verdict.PERMERROR, domain, "too many lookups")


class _NeedsAnswer(BaseException):
    """Leaves pyspf, whose own `except Exception` must not keep it."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.question = question


def _evaluate(ip: str, local: str, domain: str, helo: str, answers: dict[Question, Answer]) -> SpfResult:
    try:
        verdict, _, reason = _Query(ip, local, domain, helo, answers).check()
        return SpfResult(Verdict(verdict), domain, _printable(reason))
    except Exception as error:  # noqa: BLE001 (its parsers raise whatever Python raises, P14)
        return SpfResult(Verdict.PERMERROR, domain, f"the record cannot be read: {type(error).__name__}")


class _Query(spf.query):  # type: ignore[misc]
    """pyspf's evaluation with our answers in place of its DNS."""

    def __init__(self, ip: str, local: str, domain: str, helo: str, answers: dict[Question, Answer]) -> None:
        super().__init__(ip, f"{local}@{domain}", helo)
        # It splits at the first "@", which a quoted local part may hold: another domain would be asked.
        self.l, self.o, self.d = local, domain, domain
        self._answers = answers

    def dns(self, name: str, qtype: str, cnames: object = None, ignore_void: bool = False) -> list[object]:
        """The records, CNAMEs followed by our resolver; raises pyspf's errors for what is temporary or void too often."""
        question = Question(RecordType(qtype), str(name).rstrip(".").lower())
        answer = self._answers.get(question)
        if answer is None:
            raise _NeedsAnswer(question)
        if answer.status is LookupStatus.TEMPORARY and question.type is not RecordType.PTR:
            raise spf.TempError(f"DNS: {question.name}: {answer.detail}")
        # RFC 7208 §5.5: a DNS error of the PTR question means only that ptr does not match.
        if answer.status is not LookupStatus.FOUND:
            self.void_lookups += not ignore_void
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError(f"more than {spf.MAX_VOID_LOOKUPS} lookups found nothing")
        match question.type:
            case RecordType.TXT:
                return [[text] for text in answer.strings]
            case RecordType.MX:
                return [(record.preference, record.host) for record in answer.mx if record.host]
            case _:
                return list(answer.texts)

    def get_explanation(self, spec: str) -> None:
        """None: a stranger's explanation (exp=) changes no verdict, and we do not repeat it to others."""
        return


def _is_name(domain: str) -> bool:
    # RFC 7208 §4.3: what is no multi-label domain name has no policy.
    return domain.isascii() and "." in domain and not domain.startswith("[") and len(domain) <= 253  # RFC 1035 §2.3.4


def _printable(text: str) -> str:
    return "".join(char if " " <= char <= "~" else "?" for char in text)[:200]
