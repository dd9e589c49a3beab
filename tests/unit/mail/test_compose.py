"""What leaves: composed, completed, checked, and made 7-bit; read back by another implementation than ours."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime, timedelta, timezone

import pytest

from mailrelay.errors import Invalid
from mailrelay.mail import dates
from mailrelay.mail.compose import Attachment, Draft, Person, compose
from mailrelay.mail.message import parse
from mailrelay.mail.seven_bit import to_seven_bit
from mailrelay.mail.submission import complete, needs_smtputf8, validate_submission
from mailrelay.model.address import Address
from mailrelay.smtp.data import has_bare_newline, normalise_newlines

NOW = datetime(2026, 3, 2, 9, 15, tzinfo=UTC)
ANN = Person("Ann Example", Address("ann", "ours.example"))
BOB = Person("Bob", Address("bob", "customer.example"))


def draft(**changes):
    fields = {
        "from_": ANN,
        "to": [BOB],
        "subject": "Hello",
        "text": "Hi Bob\n",
        "date": NOW,
        "message_id": "1@ours.example",
    }
    return Draft(**(fields | changes))


def read(raw):
    return email.message_from_bytes(raw, policy=email.policy.default)


def content(part):
    return part.get_content().replace("\r\n", "\n")


def test_a_plain_mail_is_written_plainly():
    assert compose(draft()) == (
        b"From: Ann Example <ann@ours.example>\r\nTo: Bob <bob@customer.example>\r\nSubject: Hello\r\n"
        b"Date: Mon, 02 Mar 2026 09:15:00 +0000\r\nMessage-ID: <1@ours.example>\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\r\nHi Bob\r\n"
    )


def test_everything_given_is_read_back_by_another_reader():
    data = bytes(range(256)) * 10
    raw = compose(
        draft(
            from_=Person('Jürgen "J" Ünal', ANN.address),
            to=[Person(f"Person {number}, Dr.", Address(f"p{number}", "x.example")) for number in range(30)],
            cc=[BOB],
            reply_to=[BOB],
            sender=ANN,
            subject="Angebot für Zürich 見積書 " * 6 + "!",
            text="Schöne Grüße\r\n.\r\nFrom here\n" + "x" * 2_000 + "\nend",
            html="<p>見積書</p>" * 50,
            attachments=[
                Attachment("Übersicht " * 12 + ".pdf", "application/pdf", data),
                Attachment('../a"\\b.txt', "text/plain", b"x"),
            ],
            headers=[("X-Custom", "wäre"), ("List-Unsubscribe", "<https://ours.example/u>")],
            in_reply_to="0@x.example",
            references=["a@x.example", "0@x.example"],
        )
    )
    found = read(raw)
    assert str(found["From"].addresses[0].display_name) == 'Jürgen "J" Ünal'
    assert len(found["To"].addresses) == 30
    assert found["Subject"] == "Angebot für Zürich 見積書 " * 6 + "!"
    assert (found["X-Custom"], found["References"]) == ("wäre", "<a@x.example> <0@x.example>")
    assert content(found.get_body(("plain",))) == "Schöne Grüße\n.\nFrom here\n" + "x" * 2_000 + "\nend"
    assert content(found.get_body(("html",))) == "<p>見積書</p>" * 50
    files = {part.get_filename(): part.get_content() for part in found.iter_attachments()}
    assert files["Übersicht " * 12 + ".pdf"] == data
    assert files['../a"\\b.txt'] == "x"
    assert all(not part.defects for part in found.walk())
    assert raw.isascii()
    assert not has_bare_newline(raw)
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert [one.name for one in parse(raw).attachments] == ["Übersicht " * 12 + ".pdf", '../a"\\b.txt']
    validate_submission(raw)


@pytest.mark.parametrize("bad", ["x\r\nBcc: eve@evil.example", "x\ny", "x\0"])
@pytest.mark.parametrize(
    "change",
    [
        lambda bad: {"subject": bad},
        lambda bad: {"from_": Person(bad, ANN.address)},
        lambda bad: {"to": [Person("", Address(bad, "x.example"))]},
        lambda bad: {"to": [Person("", Address("x", bad))]},
        lambda bad: {"headers": [("X-A", bad)]},
        lambda bad: {"headers": [(bad, "x")]},
        lambda bad: {"message_id": bad},
        lambda bad: {"in_reply_to": bad},
        lambda bad: {"references": [bad]},
        lambda bad: {"attachments": [Attachment(bad, "text/plain", b"")]},
        lambda bad: {"attachments": [Attachment("x", bad, b"")]},
    ],
)
def test_fault_p09_no_value_becomes_a_second_header(change, bad):
    with pytest.raises(Invalid):
        compose(draft(**change(bad)))


@pytest.mark.parametrize(
    "name", ["Bcc", "From", "content-type", "DKIM-Signature", "Received", "X-Mailrelay-Id", "Resent-Bcc"]
)
def test_fields_that_are_ours_cannot_be_given(name):
    with pytest.raises(Invalid, match="cannot be given"):
        compose(draft(headers=[(name, "x")]))


def test_a_mail_without_any_body_is_refused():
    with pytest.raises(Invalid):
        compose(draft(text=None))


def test_a_local_part_beyond_ascii_asks_for_smtputf8():
    raw = compose(draft(to=[Person("", Address("jürgen", "x.example"))]))
    assert needs_smtputf8(raw)
    assert to_seven_bit(raw) is None
    assert not needs_smtputf8(compose(draft(subject="ä", text="ä")))


SIGNED_BODY = b"To: bob@x.example\r\nX-Odd :  kept  \r\nFrom: ann@ours.example\r\n\r\nBody  \r\n"


def test_fault_p13_missing_fields_are_added_and_hidden_ones_removed():
    raw = b"Bcc: secret@x.example,\r\n other@x.example\r\nReturn-Path: <a@b.c>\r\n" + SIGNED_BODY
    assert complete(raw, now=NOW, message_id="9@ours.example") == SIGNED_BODY.replace(
        b"\r\n\r\n", b"\r\nDate: Mon, 02 Mar 2026 09:15:00 +0000\r\nMessage-ID: <9@ours.example>\r\n\r\n"
    )


def test_a_complete_mail_stays_byte_for_byte():
    raw = b"date: yesterday\r\nmessage-id: <x>\r\n" + SIGNED_BODY
    assert complete(raw, now=NOW, message_id="9@ours.example") == raw


def test_empty_fields_count_as_missing():
    done = complete(b"Date:\r\nMessage-ID: \r\n" + SIGNED_BODY, now=NOW, message_id="9@ours.example")
    assert done.count(b"Date:") == done.count(b"Message-ID:") == 1
    assert parse(done).message_id == "9@ours.example"


GOOD = b"From: ann@ours.example\r\nTo: bob@x.example\r\nSubject: x\r\n\r\nbody\r\n"


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (GOOD.replace(b"body", b"bo\0dy"), "message"),
        (GOOD.replace(b"body", b"bo\ndy"), "message"),
        (GOOD.replace(b"body", b"bo\rdy"), "message"),
        (b"From: eve@evil.example\r\n" + GOOD, "From"),
        (GOOD.replace(b"From: ann@ours.example\r\n", b""), "From"),
        (GOOD.replace(b"ann@ours.example", b"nobody"), "From"),
        (GOOD.replace(b"ann@ours.example", b"ann@ours.example, eve@evil.example"), "From"),
        (GOOD.replace(b"ann@ours.example", b"a@ours.example)b@evil.example"), "From"),
        (b"Date: x\r\nDate: y\r\n" + GOOD, "Date"),
        (b"Subject: y\r\n" + GOOD, "Subject"),
        (b"X-Long: " + b"x" * 995 + b"\r\n" + GOOD, "X-Long"),
        (b"no field here\r\n" + GOOD, "message"),
        (b"From ann Mon\r\n" + GOOD, "message"),
        (b"A: b\r\n" * 1_100 + GOOD, "message"),
        (b"From: ann@ours.example\r\nbody without an empty line", "message"),
        (b"", "From"),
    ],
)
def test_fault_p13_what_must_not_leave_is_refused_with_its_place(raw, path):
    with pytest.raises(Invalid) as refused:
        validate_submission(raw)
    assert refused.value.path == path


@pytest.mark.parametrize(
    "raw",
    [
        GOOD,
        GOOD.replace(b"ann@ours.example", b"a@x.example, b@x.example\r\nSender: a@x.example"),
        b"X: " + b"x" * 995 + b"\r\n" + GOOD,
        GOOD[:-8] + b"\r\n",
    ],
)
def test_a_good_submission_passes(raw):
    validate_submission(raw)


EIGHT = (
    "From: Jürgen <j@ours.example>\r\nSubject: Grüße\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n"
    'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nX-Kept :  as is\r\n\r\nplain  text \r\n'
    '--b\r\nContent-Type: text/plain; charset=utf-8; name="ä.txt"\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSchöne Grüße \r\n\r\n'
    "--b\r\nContent-Type: application/x-y\r\nContent-Transfer-Encoding: binary\r\n\r\n\xe9\xe9\xe9\r\n--b--\r\n"
).encode()


def test_eight_bit_parts_become_seven_bit_and_say_the_same():
    done = to_seven_bit(EIGHT)
    assert done is not None
    assert done.isascii()
    before, after = parse(EIGHT), parse(done)
    assert (after.subject, after.addresses("From")) == (before.subject, parse(done).addresses("From"))
    assert after.addresses("From").mailboxes[0].name == "Jürgen"
    assert [part.decoded() for part in after.parts if not part.is_multipart] == [
        part.decoded() for part in before.parts if not part.is_multipart
    ]
    assert after.root.children[1].filename == "ä.txt"
    assert b"--b\r\nX-Kept :  as is\r\n\r\nplain  text \r\n--b\r\n" in done
    assert content(read(done).get_payload(1)).rstrip("\n") == "Schöne Grüße "


def test_a_plain_eight_bit_mail_without_mime_fields_gets_them():
    done = to_seven_bit("From: a@b.example\r\n\r\nGrüße\r\n".encode())
    assert done is not None
    assert content(read(done)) == "Grüße\n"


def test_every_field_of_a_repeated_name_is_kept():
    done = to_seven_bit("X-Tag: ä\r\nFrom: a@b.example\r\nX-Tag: b\r\nX-Tag: ü\r\n\r\n".encode())
    assert done is not None
    assert [field.text for field in parse(done).headers.fields_named("X-Tag")] == ["ä", "b", "ü"]


@pytest.mark.parametrize(
    "raw",
    [
        b"\xef\xbb\xbfFrom: a@b.example\r\n\r\nx",
        "From: ä@b.example\r\n\r\nx".encode(),
        "From: a@b.example)ä\r\n\r\nx".encode(),
        'From: a@b.example\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\nä\r\n--b--\r\n'.encode(),
    ],
)
def test_what_cannot_be_said_in_seven_bits_is_none(raw):
    assert to_seven_bit(raw) is None


def test_long_lines_are_wrapped_by_encoding():
    done = to_seven_bit(GOOD + b"x" * 5_000 + b"\r\n")
    assert done is not None
    assert all(len(line) <= 998 for line in done.split(b"\r\n"))
    assert parse(done).text == "body\n" + "x" * 5_000 + "\n"


def test_seven_bit_mail_stays_byte_for_byte():
    assert to_seven_bit(GOOD) is GOOD


def test_nothing_inside_a_signed_mail_is_changed():
    raw = (
        'From: a@b.example\r\nContent-Type: multipart/signed; boundary=s; protocol="application/pgp-signature"\r\n\r\n'
        "--s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n"
        "--s\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--s--\r\n"
    ).encode()
    assert to_seven_bit(raw) is None
    assert to_seven_bit(raw.replace("Grüße".encode(), b"Gruss").replace(b"From", "X: ä\r\nFrom".encode())) is not None


def test_fault_s02_imported_newlines_leave_as_crlf():
    raw = normalise_newlines(b"From: a@b.example\n\nline\r.\r\n.\nend")
    validate_submission(raw)
    done = complete(raw, now=NOW, message_id="1@ours.example")
    assert not has_bare_newline(done)
    assert done.endswith(b"\r\n\r\nline\r\n.\r\n.\r\nend")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Mon, 02 Mar 2026 10:15:00 +0100", NOW),
        ("2 Mar 26 09:15 GMT", NOW),
        ("Mon, 2 Mar 2026 04:15:00 EST (comment)", NOW),
        ("Mon Mar  2 09:15:00 2026", NOW),
        ("2 March 2026 09:15:00 -0000", NOW),
        ("31 Feb 2026 00:00:00 +0000", None),
        ("yesterday", None),
        ("", None),
        ("1 Jan 0000 00:00:00 +9999", None),
    ],
)
def test_dates_are_read_as_mailers_write_them(value, expected):
    assert dates.read(value) == expected


def test_dates_are_written_as_the_rfc_wants_them():
    at = NOW.astimezone(timezone(timedelta(hours=-3, minutes=-30)))
    assert dates.write(at) == "Mon, 02 Mar 2026 05:45:00 -0330"
    assert dates.read(dates.write(at)) == NOW
