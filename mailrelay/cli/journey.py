"""A message's journey as text: where it is and why, what holds it, what every rule said, each delivery and the replies to it (I9, K1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mailrelay.cli.queue import described, judgement
from mailrelay.cli.show import pairs, people, plain, when

_PEOPLE = {
    "from": "from",
    "sender": "sender",
    "reply to": "reply_to",
    "to": "to",
    "cc": "cc",
    "forwarded from": "forwarded_from",
}
_SIGNS = {"miss": "-", "link": "+", "create": "+", "hold": "!", "drop": "!", "exclude": "~"}
_LEGEND = "+ link or new record, ~ nobody to match, ! hold or drop, - looked and found nothing"
_BY_RULE = "rule"


def journey(one: Mapping[str, Any], *, names: Mapping[str, str], waiting: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The lines for a message of the API; `names` of records, and its open entries of the unresolved list."""
    came = "received" if one["direction"] == "in" else "sent by us"
    yield f"{one['id']}  {came} {when(one['received_at'])}"
    yield pairs(
        [
            ("status", _status(one)),
            ("subject", one["subject"] or "(none)"),
            *((label, people(one["participants"], role)) for label, role in _PEOPLE.items()),
            ("Message-ID", one["message_id"]),
            ("size", f"{one['size']:,} bytes"),
            ("attached", ", ".join(_file(file) for file in one["attachments"])),
            ("kind", one["kind"].replace("_", " ") if one["kind"] != "normal" else ""),
            ("automatic", one["automatic"]),
            *_verdicts(one["auth"]),
            *((f"by {source['channel']}", _source(source)) for source in one["sources"]),
            ("came with", ", ".join(one["attached"])),
        ],
        indent=2,
    )
    yield ""
    yield from links(one["links"], names)
    for entry in waiting:
        yield from ("", f"Waits for a person: {entry['reason'].replace('_', ' ')}")
        yield plain(f"    {entry['explanation']}")
        yield f"    Decide with: mailrelay unresolved file {entry['id']} --record MODULE/ID"
        yield f"             or: mailrelay unresolved show {entry['id']}"
    for filing in one["filings"]:
        yield ""
        yield from _filing(filing)
    if one["reply"]:
        yield from ("", "What it answers")
        yield from (f"  {plain(line)}" for line in one["reply"].splitlines())
    if one["feedback"]:
        yield from ("", "What it says of mail of ours")
        yield from (plain(line) for back in one["feedback"] for line in _feedback(back))
    for delivery in one["deliveries"]:
        yield ""
        yield from ("Delivery " + line if not at else line for at, line in enumerate(described(delivery)))
    if one["events"]:
        yield from ("", "What happened")
        yield from (
            plain(f"  {when(event['at'])}  {event['type']:<18} {_data(event['data'])}").rstrip()
            for event in one["events"]
        )


def links(found: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> Iterator[str]:
    """Each record that a message is on, or was: who put it there, with the sentence and the header field that say why."""
    standing = [link for link in found if not link["removed_at"]]
    yield "On no record" if not standing else f"On {len(standing)} record{'s' if len(standing) > 1 else ''}"
    for link in standing:
        yield from _link(link, names)
    for link in found:
        if link["removed_at"]:
            by = "a rule, run again" if link["removed_by"] == _BY_RULE else link["removed_by"]
            yield from _link(link, names, f", taken off by {by} {when(link['removed_at'])}")


def _link(link: Mapping[str, Any], names: Mapping[str, str], gone: str = "") -> Iterator[str]:
    by = f"by rule {link['rule']}" if link["by"] == _BY_RULE else f"by hand, {link['by']}"
    guess = ", a guess" if link["guess"] else ""
    name = names.get(link["record"], "(a record that is gone)")
    yield plain(f"  {link['record']}  {name}  {by} {when(link['created_at'])}{guess}{gone}")
    for evidence in link["evidence"]:
        yield plain(f"    {evidence['because']}")
        if evidence["header"]:
            yield plain(f"      {evidence['header']}: {evidence['value']}")


def _filing(filing: Mapping[str, Any]) -> Iterator[str]:
    because = f", {filing['reason'].replace('_', ' ')}: {filing['explanation']}" if filing["reason"] else ""
    yield plain(f"What the rules said of {filing['arrival']}: {filing['disposition']}{because}")
    yield f"  ({_LEGEND})"
    width = max((len(finding["rule"]) for finding in filing["findings"]), default=0)
    for finding in filing["findings"]:
        asks = finding["record"] or finding["creates"] or finding["reason"].replace("_", " ")
        said = "; ".join(_evidence(one) for one in finding["evidence"])
        yield plain(
            f"  {_SIGNS.get(finding['kind'], ' ')} {finding['rule']:<{width}}  {f'{asks}: ' if asks else ''}{said}"
        )


def _feedback(back: Mapping[str, Any]) -> Iterator[str]:
    yield f"  {back['recipient'] or '(nobody named)'}  {judgement(back)}"
    tie = back["tie"].replace("_", " ")
    about = f"about delivery {back['delivery']}, by {tie}" if back["delivery"] else "about no delivery that is known"
    yield f"    {about}; {'believed' if back['believed'] else 'not believed, so nothing follows'}"


def _evidence(one: Mapping[str, str]) -> str:
    where = f" [{one['header']}: {one['value']}]" if one["header"] else ""
    return one["because"] + where


def _status(one: Mapping[str, Any]) -> str:
    """How far it came; of several recipients also how many are how far: `deferred (1 sent, 1 deferred)`."""
    if one["status"] is None:
        return ""
    each = Counter(delivery["status"] for delivery in one["deliveries"])
    said = ", ".join(f"{number} {status}" for status, number in each.items())
    return str(one["status"]).replace("_", " ") + (f" ({said})" if len(one["deliveries"]) > 1 else "")


def _file(file: Mapping[str, Any]) -> str:
    return f"{file['name'] or '(no name)'} ({file['type']}, {file['size']:,} bytes)"


def _source(source: Mapping[str, Any]) -> str:
    user = f", user {source['user']}" if source["user"] else ""
    return f"{source['arrival']}, {when(source['at'])}{user}"


def _verdicts(auth: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    if auth is None:
        return
    signatures = (
        f"{one['verdict']} for {one['domain']} ({one['selector']}){': ' + one['reason'] if one['reason'] else ''}"
        for one in auth["dkim"]
    )
    spf = f"{auth['spf']} for {auth['spf_domain']}" if auth["spf_domain"] else auth["spf"]
    yield "SPF", f"{spf}{': ' + auth['spf_reason'] if auth['spf_reason'] else ''}"
    yield "DKIM", "; ".join(signatures) or "no signature"
    policy = f", policy {auth['dmarc_policy']}" if auth["dmarc_policy"] else ""
    yield "DMARC", f"{auth['dmarc']}{policy}; {'aligned' if auth['aligned'] else 'not aligned'}"


def _data(data: Mapping[str, str]) -> str:
    return "  ".join(f"{name}={value}" for name, value in data.items() if value)
