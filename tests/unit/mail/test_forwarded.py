"""Forwards are read in every usual client and language; replies with the same block are not forwards (I22)."""

from __future__ import annotations

import pytest

from mailrelay.mail.forwarded import attached, forwarded, is_forward, subject_kind
from mailrelay.mail.message import parse
from tests.support.cost import cpu

# language: (subject prefix, from, date, subject, to, cc, Gmail or Thunderbird mark, Apple mark, Outlook text mark)
LANGUAGES = {
    "en": (
        "Fwd",
        "From",
        "Date",
        "Subject",
        "To",
        "Cc",
        "Forwarded message",
        "Begin forwarded message:",
        "Original Message",
    ),
    "de": (
        "WG",
        "Von",
        "Datum",
        "Betreff",
        "An",
        "Cc",
        "Weitergeleitete Nachricht",
        "Anfang der weitergeleiteten Nachricht:",
        "Ursprüngliche Nachricht",
    ),
    "fr": (
        "TR",
        "De",
        "Date",
        "Objet",
        "À",
        "Cc",
        "Message transféré",
        "Début du message réexpédié :",
        "Message d'origine",
    ),
    "es": (
        "RV",
        "De",
        "Fecha",
        "Asunto",
        "Para",
        "CC",
        "Mensaje reenviado",
        "Inicio del mensaje reenviado:",
        "Mensaje original",
    ),
    "pt": (
        "ENC",
        "De",
        "Data",
        "Assunto",
        "Para",
        "Cc",
        "Mensagem encaminhada",
        "Início da mensagem encaminhada:",
        "Mensagem original",
    ),
    "it": (
        "I",
        "Da",
        "Data",
        "Oggetto",
        "A",
        "Cc",
        "Messaggio inoltrato",
        "Inizio messaggio inoltrato:",
        "Messaggio originale",
    ),
    "nl": (
        "FW",
        "Van",
        "Datum",
        "Onderwerp",
        "Aan",
        "CC",
        "Doorgestuurd bericht",
        "Begin doorgestuurd bericht:",
        "Oorspronkelijk bericht",
    ),
    "zh": ("转发", "发件人", "日期", "主题", "收件人", "抄送", "转发的邮件", "下面是被转发的邮件：", "邮件原件"),
    "ja": (
        "転送",
        "差出人",
        "日付",
        "件名",
        "宛先",
        "CC",
        "転送されたメッセージ",
        "転送されたメッセージ：",
        "元のメッセージ",
    ),
}


def mail(subject: str, body: str, *, kind: str = "plain", more: str = "") -> bytes:
    return (
        f"From: colleague@ours.example\r\nTo: bcc-token@in.ours.example\r\nSubject: {subject}\r\n{more}"
        f"Content-Type: text/{kind}; charset=utf-8\r\n\r\n{body}"
    ).encode()


def block(language: str, style: str) -> str:
    _, sender, date, subject, to, cc, mark, apple, original = LANGUAGES[language]
    fields = {
        "gmail": (sender, date, subject, to, cc),
        "thunderbird": (subject, date, sender, to, cc),
        "apple": (sender, subject, date, to, cc),
        "outlook": (sender, date, to, cc, subject),
        "outlook web": (sender, date, to, cc, subject),
        "outlook text": (sender, date, to, cc, subject),
    }[style]
    values = {
        sender: "Clara Customer <clara@customer.example>",
        date: "2026-03-02 09:15",
        subject: "An order: two of them",
        to: "Colleague <colleague@ours.example>; Other <other@ours.example>"
        if "outlook" in style
        else "Colleague <colleague@ours.example>, Other <other@ours.example>",
        cc: "Dan <dan@customer.example>",
    }
    colon = "：" if language in ("zh", "ja") and style == "apple" else " :" if language == "fr" else ":"
    lines = [f"{label}{colon} {values[label]}" for label in fields]
    head = {
        "gmail": [f"---------- {mark} ---------"],
        "thunderbird": ["", f"-------- {mark} --------"],
        "apple": [apple, ""],
        "outlook": [""],
        "outlook web": ["________________________________"],
        "outlook text": [f"-----{original}-----"],
    }[style]
    quote = "> " if style == "apple" else ""
    return "\r\n".join(quote + line for line in [*head, *lines, "", "The customer's own words."])


STYLES = ("gmail", "thunderbird", "apple", "outlook", "outlook web", "outlook text")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("note", ["", "Please file this.\r\n\r\nThanks\r\n\r\n"])
def test_the_original_correspondents_are_found(language, style, note):
    prefix = LANGUAGES[language][0]
    (first, *_) = forwarded(parse(mail(f"{prefix}: An order", note + block(language, style))))
    assert str(first.from_.address) == "clara@customer.example"
    assert first.from_.name == "Clara Customer"
    assert [str(one.address) for one in first.to] == ["colleague@ours.example", "other@ours.example"]
    assert [str(one.address) for one in first.cc] == ["dan@customer.example"]
    assert first.subject == "An order: two of them"
    assert first.sent_at_text == "2026-03-02 09:15"
    assert first.level == 0


@pytest.mark.parametrize("style", ["gmail", "thunderbird", "apple"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_mark_of_forwards_needs_no_subject_prefix(language, style):
    assert forwarded(parse(mail("An order", block(language, style))))


@pytest.mark.parametrize("style", ["outlook", "outlook web", "outlook text"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_reply_with_the_same_block_is_no_forward(language, style):
    body = "Yes, we can do that.\r\n\r\n" + block(language, style)
    reply = {"de": "AW", "nl": "Antw", "it": "R", "zh": "回复", "ja": "返信"}.get(language, "RE")
    assert forwarded(parse(mail(f"{reply}: An order", body))) == ()
    assert forwarded(parse(mail("An order", body, more="In-Reply-To: <1@customer.example>\r\n"))) == ()


@pytest.mark.parametrize(
    ("subject", "kind"),
    [
        ("Fwd: x", "forward"),
        ("FW: RE: x", "forward"),
        ("RE: FW: x", "reply"),
        ("[list] WG: x", "forward"),
        ("Re[2]: x", "reply"),
        ("转发：x", "forward"),
        ("TR : x", "forward"),
        ("回复: 转发: x", "reply"),
        ("Forwarding offer: terms", ""),
        ("Offer", ""),
        ("", ""),
    ],
)
def test_the_first_prefix_of_a_subject_decides(subject, kind):
    assert subject_kind(subject) == kind


def test_html_only_forwards_of_outlook_are_read():
    html = (
        '<div class="WordSection1"><p>See below</p><div style="border-top:solid #E1E1E1 1.0pt"><p><b>Von:</b> Clara Customer '
        "&lt;clara@customer.example&gt; <br><b>Gesendet:</b> Montag, 2. März 2026 09:15<br><b>An:</b> Colleague<br>"
        "<b>Betreff:</b> Auftrag</p></div><p>Guten Tag</p></div>"
    )
    (first,) = forwarded(parse(mail("WG: Auftrag", html, kind="html")))
    assert str(first.from_.address) == "clara@customer.example"
    assert (first.subject, first.sent_at_text) == ("Auftrag", "Montag, 2. März 2026 09:15")


def test_html_only_forwards_of_thunderbird_are_read():
    html = (
        "<p>fyi</p>-------- Forwarded Message --------<table class='moz-email-headers-table'><tbody><tr><th>Subject: </th><td>Order</td></tr>"
        "<tr><th>Date: </th><td>Mon, 2 Mar 2026</td></tr><tr><th>From: </th><td>Clara <a href='mailto:clara@customer.example'>"
        "&lt;clara@customer.example&gt;</a></td></tr>"
        "<tr><th>To: </th><td>c@ours.example</td></tr></tbody></table><br>text"
    )
    (first,) = forwarded(parse(mail("Fwd: Order", html, kind="html")))
    assert str(first.from_.address) == "clara@customer.example"


@pytest.mark.parametrize(
    "sender",
    [
        "Clara Customer [mailto:clara@customer.example]",
        "Clara Customer <clara@customer.example<mailto:clara@customer.example>>",
        "clara@customer.example<mailto:clara@customer.example>",
        "Clara Customer <mailto:clara@customer.example>",
        "*Clara Customer* <clara@customer.example>",
        "Clara Customer \r\n<clara@customer.example>",
        "clara@customer.example [clara@customer.example]",
    ],
)
def test_addresses_are_read_as_clients_show_them(sender):
    body = f"From: {sender}\r\nSent: Monday\r\nTo: Colleague\r\nSubject: x\r\n\r\nwords"
    (first,) = forwarded(parse(mail("FW: x", body)))
    assert str(first.from_.address) == "clara@customer.example"


def test_a_block_with_names_only_has_no_address():
    (first,) = forwarded(
        parse(mail("FW: x", "From: Clara Customer\r\nSent: Monday\r\nTo: Bob\r\nSubject: x\r\n\r\nwords"))
    )
    assert (first.from_.name, first.from_.address) == ("Clara Customer", None)


def test_two_addresses_in_one_link_are_no_address():
    body = "From: Clara <clara@customer.example<mailto:eve@evil.example>>\r\nSent: Monday\r\nTo: b@ours.example\r\nSubject: x\r\n\r\n"
    (first,) = forwarded(parse(mail("FW: x", body)))
    assert first.from_.address is None


def test_a_forward_of_a_forward_gives_both_nearest_first():
    body = (
        block("en", "gmail").replace("Clara Customer <clara@customer.example>", "Bob <bob@ours.example>")
        + "\r\n\r\n"
        + block("de", "gmail")
    )
    found = forwarded(parse(mail("Fwd: x", body)))
    assert [(one.level, str(one.from_.address)) for one in found] == [
        (0, "bob@ours.example"),
        (1, "clara@customer.example"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        "Hello,\r\nFrom: here it is easy.\r\nTo: be or not.\r\n",
        "Agenda\r\nDate: Monday\r\nSubject: plans\r\n",
        "A forwarded message is attached.\r\n",
        "",
    ],
)
def test_prose_is_no_block(body):
    assert forwarded(parse(mail("Fwd: x", body))) == ()


def test_a_long_letter_with_a_block_in_it_is_no_forward():
    assert forwarded(parse(mail("Report", "line\r\n" * 40 + block("en", "outlook")))) == ()


def test_attached_mails_come_byte_for_byte():
    inner = (
        b"From: clara@customer.example\r\nSubject: one  \r\n\r\nbody \r\n.\r\n",
        b"From: dan@customer.example\nSubject: two\n\nx",
    )
    raw = (
        b"From: c@ours.example\r\nSubject: two mails\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhere\r\n"
        + b"".join(b"--b\r\nContent-Type: message/rfc822\r\n\r\n%s\r\n" % one for one in inner)
    )
    parsed = parse(raw + b"--b--\r\n")
    assert attached(parsed) == inner
    assert is_forward(parsed)
    encoded = b"From: c@ours.example\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nRnJvbTogYUBiLmMNCg0KeA=="
    assert attached(parse(encoded)) == (b"From: a@b.c\r\n\r\nx",)


def test_the_mail_in_a_bounce_is_not_forwarded():
    raw = (
        b"From: d@x.example\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n--b--\r\n"
    )
    assert attached(parse(raw)) == ()


@pytest.mark.parametrize(
    "line",
    ["From: x\n", "To: a@b.c\n", "> " * 500 + "\n", "-" * 1_000 + "\n", "From: " + "a@" * 900 + "\n", ":" * 500 + "\n"],
)
def test_fault_p07_hostile_text_costs_linear_time(line):
    parsed = parse(mail("Fwd: x", line * (5_000_000 // len(line))))
    _, seconds = cpu(lambda: forwarded(parsed))
    assert seconds < 1
