"""What a mail says that may be about something we sent: a report, an answer, and what ties it to a delivery (I10, I12)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from mailrelay.mail import arf, away, reply_text
from mailrelay.mail.away import Away
from mailrelay.mail.bounce import classify
from mailrelay.mail.bounce.report import BounceReport
from mailrelay.mail.bounce.returned import Traces, traces
from mailrelay.mail.message import ParsedMessage
from mailrelay.model.message import Kind

MAX_REPLY = 20_000
"""Characters that are kept of what a reply-mail says."""

_METHOD_REPLY = re.compile(r"^METHOD[^:\r\n]{0,100}:[ \t]*REPLY[ \t]*$", re.IGNORECASE | re.MULTILINE)
_MAX_CALENDAR = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CameBack:
    """What of a mail may be about one of our deliveries. All of it is a stranger's word."""

    kind: Kind
    """The report's where there is one, else the mail's own."""
    report: BounceReport | None
    complaint: str
    """The type of a feedback report (RFC 5965 §7.3), else ""."""
    traces: Traces
    away: Away | None
    """What an automatic reply says of the person who is not there (I25)."""
    answers_invitation: bool
    """Whether a person accepted or declined a meeting by it (RFC 5546 §3.2.3)."""


def read(
    parsed: ParsedMessage, kind: Kind, *, received: date, to_return_path: bool, envelope_from_null: bool
) -> CameBack | None:
    """What may have come back in a mail of this kind; None for a person's that was sent to us as any mail is. Never raises."""
    invitation = _answers_invitation(parsed)
    if kind is Kind.NORMAL and not to_return_path and not invitation:
        return None
    report = None
    if kind is not Kind.NORMAL or envelope_from_null or not parsed.parents:
        # What a person answers may quote any refusal; nobody's address must die of that.
        report = classify(parsed, envelope_from_null=envelope_from_null)
    complaint = ""
    if report is not None and report.kind is Kind.FEEDBACK:
        found = arf.read(parsed)
        complaint = "abuse" if found is None else found.type
    return CameBack(
        kind=kind if report is None else report.kind,
        report=report,
        complaint=complaint,
        traces=traces(parsed),
        away=away.read(parsed, received=received) if kind is Kind.AUTO_REPLY and not invitation else None,
        answers_invitation=invitation and (report is None or report.kind is Kind.AUTO_REPLY),
    )


def reply(parsed: ParsedMessage, kind: Kind, *, to_return_path: bool) -> str:
    """The new text of a person's reply-mail, without quotes and signature; "" of any other mail (I12)."""
    if kind is not Kind.NORMAL or not (parsed.parents or to_return_path):
        return ""
    # PostgreSQL keeps neither NUL nor half of a surrogate pair.
    return reply_text.reply(parsed)[:MAX_REPLY].replace("\0", "").encode("utf-8", "replace").decode()


def _answers_invitation(parsed: ParsedMessage) -> bool:
    for part in parsed.parts:
        if part.type == "text/calendar":
            if part.parameters.get("method", "").lower() == "reply":
                return True
            return _METHOD_REPLY.search(part.text()[:_MAX_CALENDAR].replace("\r", "")) is not None
    return False
