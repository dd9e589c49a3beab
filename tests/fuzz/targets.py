"""What is fuzzed: readers that take any bytes and must neither raise nor take long, each as a function of bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from mailrelay.ids import OrgId
from mailrelay.mail import (
    arf,
    away,
    bounce,
    dsn,
    file_name,
    message,
    record_address,
    reply_text,
    return_path,
    unsubscribe_address,
)
from mailrelay.mail.headers import HeaderBlock
from mailrelay.mail.inspect import inspect
from mailrelay.mail.sanitise import sanitise
from mailrelay.model.record import AddressField, AddressKind, Field, FieldType, Module
from mailrelay.query import check, grammar
from mailrelay.query.names import Known
from mailrelay.query.tokens import BadQuery
from mailrelay.query.when import Here
from mailrelay.tracking.unsubscribe import Unsubscribing, with_fields, with_link

_TODAY = date(2026, 11, 21)
_NOW = datetime(2026, 11, 21, tzinfo=UTC)
_KNOWN = Known(
    modules=(
        Module(
            org=OrgId("O"),
            name="contact",
            label="Contact",
            custom=False,
            address_fields=(AddressField(name="email", kind=AddressKind.PRIMARY, matched=True),),
            fields=tuple(Field(name=str(one), type=one) for one in FieldType),
        ),
    ),
    here=Here(_NOW, ZoneInfo("Europe/Berlin")),
    me="U1",
    user=lambda said: said if "@" in said else None,
)
_KEYS = (b"k" * 32, b"o" * 32)
_LEAVES = Unsubscribing(page="https://links.example/u/a", mailto="u-a@b.example", one_click=True, sentence="Möchten?")


def judge(raw: bytes) -> None:
    """What a mail reports, as the pipeline asks and as `message inspect` does; all of it is text that JSON can hold."""
    parsed = message.parse(raw)
    for null in (True, False):
        report = bounce.classify(parsed, envelope_from_null=null)
        for one in report.recipients if report else ():
            json.dumps([one.recipient, str(one.status), one.code, one.diagnostic]).encode()
            assert not (one.hard and one.action != "failed")
            assert "\n" not in one.recipient
            assert "\r" not in one.recipient
    inspect(raw)


def fields(raw: bytes) -> None:
    """The fields of RFC 3464 and RFC 5965, asked of any mail, and of bytes that are only such fields."""
    kind = b"multipart/report; report-type=delivery-status; boundary=b"
    head = b"Content-Type: %b\r\n\r\n--b\r\nContent-Type: message/%b\r\n\r\n"
    for mail in (raw, head % (kind, b"delivery-status") + raw, head % (kind, b"feedback-report") + raw):
        parsed = message.parse(mail)
        for in_text in (True, False):
            assert len(dsn.read(parsed, in_text=in_text)) <= dsn.MAX_CHARS // 16
        arf.read(parsed)


def reply(raw: bytes) -> None:
    """The new text of a reply: out of a mail, and out of text; never longer than what it is cut from."""
    reply_text.reply(message.parse(raw))
    text = raw.decode("utf-8", "replace")
    assert len(reply_text.new_text(text)) <= len(text)


def absent(raw: bytes) -> None:
    """Away until when, out of any mail, and out of bytes as the text of an automatic reply."""
    head = b"From: a@b.example\r\nAuto-Submitted: auto-replied\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    for mail in (raw, head + raw):
        found = away.read(message.parse(mail), received=_TODAY)
        assert found is None or not (found.gone and found.until)


def query(raw: bytes) -> None:
    """A question (K2): it is understood, or an error names a column of it."""
    text = raw.decode("utf-8", "replace")
    column = 1
    try:
        check.check(grammar.parse(text), _KNOWN)
    except BadQuery as error:
        column = error.column
    assert 1 <= column <= len(text) + 1


def local(raw: bytes) -> None:
    """The local part of a recipient: nobody but us signs one, whatever stands in it."""
    text = raw.decode("utf-8", "replace")
    for one in (text, f"r-{text}", f"b+{text}", f"u-{text}"):
        assert record_address.read(one, _KEYS) is None
        assert unsubscribe_address.read(one, _KEYS) is None
        assert not isinstance(return_path.read(one, _KEYS, now=_NOW), return_path.ReturnPathToken)


def left(raw: bytes) -> None:
    """A copy of mass mail, out of any mail: it has its own way out once, whatever else its header says (O15)."""
    made = with_fields(with_link(raw, _LEAVES), _LEAVES)
    block = HeaderBlock.parse(made)
    if not block.defects:
        assert len(block.all("List-Unsubscribe")) == len(block.all("List-Unsubscribe-Post")) == 1


def shown(raw: bytes) -> None:
    """HTML as it is shown, and the name of a file: nothing is left that acts or loads, or that leads anywhere (P04, P11)."""
    text = raw.decode("utf-8", "replace")
    html = f">{sanitise(text, {'x': '/part'}.get).html.lower()}"
    for word in ("<script", "<svg", "<style", "<form", "<iframe", "<object", "url("):
        assert word not in re.sub(r'"[^"]*"|>[^<]*', "", html)
    name = file_name.safe(text)
    assert name
    assert not set(name) & set('/\\\0\r\n"')
    assert len(file_name.disposition(text)) < 1_000


TARGETS: dict[str, Callable[[bytes], None]] = {
    "judge": judge,
    "fields": fields,
    "reply": reply,
    "absent": absent,
    "left": left,
    "local": local,
    "shown": shown,
    "query": query,
}
"""By the name that the command line takes."""
