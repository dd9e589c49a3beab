"""What came back, read and judged: bounces, delays, receipts, complaints, automatic answers (I10)."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

from mailrelay.mail import arf, automatic, dsn
from mailrelay.mail.bounce import category, dialect, passed_on, unknown
from mailrelay.mail.bounce.report import MAX_RECIPIENTS, BouncedRecipient, BounceReport, Trouble
from mailrelay.mail.bounce.returned import recipient_of, returned_headers
from mailrelay.mail.message import ParsedMessage
from mailrelay.model.feedback import Action, Category, Fault
from mailrelay.model.message import Kind

Recognise = Callable[[ParsedMessage], tuple[Trouble, ...] | None]

_RETURNED = (Kind.BOUNCE, Kind.DELAY, Kind.DELIVERED)
_PASSED_ON = ("re:", "aw:", "fw:", "fwd:", "wg:", "sv:", "tr:", "rv:")
_MAX_NOTICE = 2_000
_MAX_BEFORE = 500


def classify(parsed: ParsedMessage, *, envelope_from_null: bool = False) -> BounceReport | None:
    """What a mail reports of whom, or None when it is not one that came back. Never raises, whatever the bytes.

    Asked in this order: the fields of RFC 3464, a complaint, an automatic reply, the dialect of the mail system that wrote it, the
    shape of its lines, the returned mail's own header. A report that names nobody has one recipient "".
    `envelope_from_null`: whether MAIL FROM was `<>`.
    """
    first, *others = passed_on.mails(parsed)
    report = _of_one(first, envelope_from_null=envelope_from_null)
    if report is None:
        inner = passed_on.whole_report(parsed)
        return None if inner is None else _of_one(inner, envelope_from_null=False)
    more = [found for other in others if (found := _of_one(other, envelope_from_null=False))]
    rows = (row for found in (report, *more) if found.kind is report.kind for row in found.recipients)
    return BounceReport(report.kind, tuple(rows)[:MAX_RECIPIENTS], report.more) if more else report


def _of_one(parsed: ParsedMessage, *, envelope_from_null: bool) -> BounceReport | None:
    kind = automatic.kind(parsed, envelope_from_null=envelope_from_null)
    by_machine = envelope_from_null or kind not in (Kind.NORMAL, Kind.LIST)
    if troubles := dsn.read(parsed, in_text=by_machine):
        return _report(parsed, _completed(parsed, troubles))
    if complaint := arf.read(parsed):
        return BounceReport(Kind.FEEDBACK, _complained(complaint))
    if kind is Kind.AUTO_REPLY:
        return BounceReport(Kind.AUTO_REPLY, _answered(parsed))
    if kind is Kind.CHALLENGE:
        return BounceReport(kind, ())
    if by_machine or not parsed.subject.lower().startswith(_PASSED_ON):
        for _, recognise in DIALECTS:
            if (troubles := recognise(parsed) or ()) and (by_machine or _at_once(parsed, troubles)):
                return _report(parsed, troubles)
    if kind in _RETURNED or (
        kind is not Kind.NORMAL and unknown.returns(parsed, envelope_from_null=envelope_from_null)
    ):
        return _report(parsed, _in_plain_words(parsed, kind))
    return None


def _at_once(parsed: ParsedMessage, troubles: tuple[Trouble, ...]) -> bool:
    """Whether a mail that no machine owns up to begins as a notice does; a person who quotes one greets, asks or tells before."""
    before, named, _ = parsed.opening[:_MAX_NOTICE].partition(troubles[0].recipient)
    greeting = before.lstrip().partition("\n")[0].rstrip().endswith((",", "!"))
    return bool(named) and len(before) <= _MAX_BEFORE and "?" not in before and not greeting


def _report(parsed: ParsedMessage, troubles: tuple[Trouble, ...]) -> BounceReport:
    # Of several recipients the text does not say which it is about.
    beside = _notice(parsed) if len(troubles) == 1 else ""
    recipients = tuple(category.of_trouble(trouble, beside) for trouble in troubles[:MAX_RECIPIENTS])
    more = troubles[MAX_RECIPIENTS:]
    actions = {one.action for one in troubles}
    if Action.FAILED in actions:
        return BounceReport(Kind.BOUNCE, recipients, more)
    return BounceReport(Kind.DELAY if Action.DELAYED in actions else Kind.DELIVERED, recipients, more)


def _completed(parsed: ParsedMessage, troubles: tuple[Trouble, ...]) -> tuple[Trouble, ...]:
    """The troubles of a report with fields, an address from elsewhere where it names exactly one recipient without one."""
    named = tuple(trouble for trouble in troubles if trouble.recipient)
    if named:
        return named
    only = _failed_recipients(parsed) or _only_recipient(parsed)
    if len(only) != 1:
        return troubles[:1]
    first = troubles[0]
    return (Trouble(only[0], first.status, first.code, first.diagnostic, first.action),)


def _in_plain_words(parsed: ParsedMessage, kind: Kind) -> tuple[Trouble, ...]:
    """What a notice that no dialect knows says: of those in X-Failed-Recipients (Exim), of whom it names, of the returned mail's one."""
    notice = _notice(parsed)
    action = Action.DELAYED if kind is Kind.DELAY else unknown.action_of(notice)
    told = {one.recipient.lower(): one for one in unknown.recognise(parsed, action)}
    names = _failed_recipients(parsed) or [one.recipient for one in told.values()] or _only_recipient(parsed) or [""]
    status, code = dsn.status_in(notice), dsn.code_in(notice)
    return tuple(told.get(name.lower()) or Trouble(name, status, code, "", action) for name in names)


def _failed_recipients(parsed: ParsedMessage) -> list[str]:
    return list(dict.fromkeys(str(address) for address in parsed.addresses("X-Failed-Recipients").addresses))


def _only_recipient(parsed: ParsedMessage) -> list[str]:
    headers = returned_headers(parsed)
    only = recipient_of(headers) if headers is not None else ""
    return [only] if only else []


def _notice(parsed: ParsedMessage) -> str:
    """The beginning of what the mail system tells people, without the mail that it returns."""
    for part in parsed.text_parts:
        if text := part.beginning(16 * _MAX_NOTICE)[: 4 * _MAX_NOTICE].strip():
            return text[:_MAX_NOTICE]
    return parsed.opening[:_MAX_NOTICE]


def _complained(complaint: arf.Complaint) -> tuple[BouncedRecipient, ...]:
    names = complaint.recipients[:MAX_RECIPIENTS] or ("",)
    return tuple(
        BouncedRecipient(
            name, None, None, complaint.type, Action.DELIVERED, Category.FEEDBACK, hard=False, fault=Fault.NEITHER
        )
        for name in names
    )


def _answered(parsed: ParsedMessage) -> tuple[BouncedRecipient, ...]:
    addresses = parsed.addresses("From").addresses[:1]
    name = str(addresses[0]) if addresses else ""
    return (
        BouncedRecipient(name, None, None, "", Action.DELIVERED, Category.AUTO_REPLY, hard=False, fault=Fault.NEITHER),
    )


def _load() -> tuple[tuple[str, Recognise], ...]:
    names = sorted(info.name for info in pkgutil.iter_modules(dialect.__path__))
    modules = ((name, importlib.import_module(f"{dialect.__name__}.{name}")) for name in names)
    found = ((name, getattr(module, "recognise", None)) for name, module in modules)
    return tuple((name, recognise) for name, recognise in found if recognise is not None)


DIALECTS = _load()
"""Every file of `dialect/` that has `recognise`, by name: the order in which they are asked. Loaded here, or the first mail would wait."""
