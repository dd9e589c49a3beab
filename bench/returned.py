"""Mail that came back, made anew for each run: a dozen kinds of report about letters of all sizes, with names of our own."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.policy import SMTP

_WORDS = (
    "oven",
    "order",
    "delivery",
    "invoice",
    "meeting",
    "plan",
    "colour",
    "window",
    "garden",
    "letter",
    "answer",
    "question",
)
_REASONS: tuple[tuple[str, int | None, str], ...] = (
    ("5.1.1", 550, "No such user here"),
    ("5.1.1", 550, "Recipient address rejected: User unknown in virtual mailbox table"),
    ("5.2.2", 552, "The mailbox of this recipient is over quota"),
    ("5.2.1", 550, "The account is disabled"),
    ("5.3.4", 552, "Message size exceeds fixed maximum message size"),
    ("5.7.1", 554, "Message refused by policy"),
    ("5.7.26", 550, "This mail is unauthenticated: DMARC and SPF did not pass"),
    ("5.4.4", None, "Host or domain name not found. Name service error for name={domain} type=MX: Host not found"),
    ("4.2.0", 450, "Greylisted, come again in five minutes"),
    ("4.4.1", None, "connect to mx.{domain}[192.0.2.25]:25: Connection timed out"),
)


class _Sheet:
    """What one report is about."""

    def __init__(self, number: int, chance: random.Random) -> None:
        self.number = number
        self.chance = chance
        self.domain = f"{chance.choice(_WORDS)}{number % 97}.example"
        self.user = f"{chance.choice(_WORDS)}.{number}"
        self.to = f"{self.user}@{self.domain}"
        self.status, self.code, reason = chance.choice(_REASONS)
        self.reason = reason.format(domain=self.domain)
        self.said = f"{self.code} {self.status} <{self.to}>: {self.reason}" if self.code else self.reason
        self.action = "delayed" if self.status.startswith("4.2") else "failed"
        self.back = f"b+{chance.getrandbits(100):025x}@bounce.test"

    def head(self, sender: str, subject: str, kind: str, more: str = "") -> str:
        """The header of the report; `kind` is its Content-Type."""
        hops = "".join(
            f"Received: from mx{hop}.{self.domain} (mx{hop}.{self.domain} [192.0.2.{hop + 1}])\r\n"
            f"\tby in{hop}.{self.domain} with ESMTPS id {self.chance.getrandbits(64):x};\r\n"
            "\tSat, 21 Nov 2026 12:00:00 +0000\r\n"
            for hop in range(3)
        )
        return (
            f"Return-Path: <>\r\n{hops}Date: Sat, 21 Nov 2026 12:00:00 +0000\r\nFrom: {sender}\r\nTo: {self.back}\r\n"
            f"Subject: {subject}\r\nMessage-ID: <{self.chance.getrandbits(80):x}@{self.domain}>\r\n{more}"
            f"MIME-Version: 1.0\r\nContent-Type: {kind}\r\n\r\n"
        )

    def letter(self) -> str:
        """The mail that is returned: mostly a few kilobytes, sometimes with a file."""
        text = self.prose(self.chance.choice((200, 400, 400, 900, 2500)))
        head = (
            f"From: Anna <anna@example.org>\r\nTo: {self.to}\r\nSubject: {self.chance.choice(_WORDS)} {self.number}\r\n"
            f"Message-ID: <{self.number}@example.org>\r\nDate: Sat, 21 Nov 2026 11:59:00 +0000\r\nMIME-Version: 1.0\r\n"
        )
        if self.number % 10:
            return f"{head}Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
        file = base64.encodebytes(self.chance.randbytes(20_000)).decode().replace("\n", "\r\n")
        return (
            f'{head}Content-Type: multipart/mixed; boundary="letter"\r\n\r\n--letter\r\nContent-Type: text/plain\r\n\r\n{text}'
            '\r\n--letter\r\nContent-Type: application/pdf; name="plan.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
            f"{file}--letter--\r\n"
        )

    def prose(self, words: int) -> str:
        """So many words, in lines."""
        lines = [" ".join(self.chance.choices(_WORDS, k=12)) for _ in range(words // 12 + 1)]
        return "\r\n".join(lines)

    def report(self, notice: str, fields: str, *, letter: str | None = None, kind: str = "message/rfc822") -> str:
        """The three parts of RFC 3464, between boundaries "=_report"."""
        returned = self.letter() if letter is None else letter
        return (
            f"--=_report\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n{notice}\r\n"
            f"--=_report\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.{self.domain}\r\n\r\n"
            f"Final-Recipient: rfc822; {self.to}\r\n{fields}\r\n"
            f"--=_report\r\nContent-Type: {kind}\r\n\r\n{returned}--=_report--\r\n"
        )


_REPORT = 'multipart/report; report-type=delivery-status;\r\n\tboundary="=_report"'


def _postfix(one: _Sheet) -> str:
    notice = (
        f"This is the mail system at host mx.{one.domain}.\r\n\r\nYour message could not be delivered to one or more "
        f"recipients.\r\n\r\n                   The mail system\r\n\r\n<{one.to}>: {one.said}\r\n"
    )
    fields = f"Action: {one.action}\r\nStatus: {one.status}\r\nDiagnostic-Code: smtp; {one.said}\r\n"
    head = one.head(
        f"MAILER-DAEMON@mx.{one.domain} (Mail Delivery System)", "Undelivered Mail Returned to Sender", _REPORT
    )
    return head + one.report(notice, fields)


def _sendmail(one: _Sheet) -> str:
    notice = (
        "The original message was received at Sat, 21 Nov 2026 12:00:00 GMT\r\nfrom relay.example.org [192.0.2.9]\r\n\r\n"
        f"   ----- The following addresses had permanent fatal errors -----\r\n<{one.to}>\r\n    (reason: {one.said})\r\n\r\n"
        f"   ----- Transcript of session follows -----\r\n... while talking to mx.{one.domain}.:\r\n>>> DATA\r\n<<< {one.said}\r\n"
    )
    fields = (
        f"Action: failed\r\nStatus: {one.status}\r\nDiagnostic-Code: SMTP; {one.said}\r\n"
        "Last-Attempt-Date: Sat, 21 Nov 2026 12:00:01 GMT\r\n"
    )
    head = one.head(f"Mail Delivery Subsystem <MAILER-DAEMON@{one.domain}>", "Returned mail: see transcript", _REPORT)
    return head + one.report(notice, fields)


def _only_headers(one: _Sheet) -> str:
    fields = f"Action: {one.action}\r\nStatus: {one.status}\r\n"
    head = one.head(f"postmaster@{one.domain}", "Delivery Status Notification (Failure)", _REPORT)
    letter = one.letter().partition("\r\n\r\n")[0] + "\r\n"
    return head + one.report(f"Sorry: {one.reason}", fields, letter=letter, kind="text/rfc822-headers")


def _exim(one: _Sheet) -> str:
    head = one.head(
        f"Mail Delivery System <Mailer-Daemon@{one.domain}>",
        "Mail delivery failed: returning message to sender",
        "text/plain",
        f"X-Failed-Recipients: {one.to}\r\nAuto-Submitted: auto-replied\r\n",
    )
    return (
        f"{head}This message was created automatically by mail delivery software.\r\n\r\nA message that you sent could not be "
        "delivered to one or more of its\r\nrecipients. This is a permanent error. The following address(es) failed:\r\n\r\n"
        f"  {one.to}\r\n    host mx.{one.domain} [192.0.2.25]\r\n    SMTP error from remote mail server after RCPT TO:<{one.to}>:"
        f"\r\n    {one.said}\r\n\r\n------ This is a copy of the message, including all the headers. ------\r\n\r\n{one.letter()}"
    )


def _qmail(one: _Sheet) -> str:
    head = one.head(f"MAILER-DAEMON@{one.domain}", "failure notice", "text/plain")
    return (
        f"{head}Hi. This is the qmail-send program at {one.domain}.\r\nI'm afraid I wasn't able to deliver your message to the "
        "following addresses.\r\nThis is a permanent error; I've given up. Sorry it didn't work out.\r\n\r\n"
        f"<{one.to}>:\r\n192.0.2.25 does not like recipient.\r\nRemote host said: {one.said}\r\nGiving up on 192.0.2.25.\r\n\r\n"
        f"--- Below this line is a copy of the message.\r\n\r\n{one.letter()}"
    )


def _unknown_words(one: _Sheet) -> str:
    head = one.head(f"postmaster@{one.domain}", "Undeliverable mail", "text/plain; charset=utf-8")
    return (
        f"{head}The server {one.domain} could not hand over your mail.\r\n\r\nRecipient: {one.to}\r\nReason: {one.said}\r\n\r\n"
        f"Your mail follows:\r\n\r\n{one.letter()}"
    )


def _html(one: _Sheet) -> str:
    rows = "".join(f"<tr><td>{word}</td><td>{one.prose(12)}</td></tr>\r\n" for word in _WORDS)
    notice = f"<html><body><h1>Your message to {one.to} couldn't be delivered.</h1><p>{one.reason}</p><table>{rows}</table></body></html>"
    fields = f"Action: failed\r\nStatus: {one.status}\r\nDiagnostic-Code: smtp;{one.said}\r\n"
    head = one.head(
        f"Microsoft Outlook <postmaster@{one.domain}>",
        f"Undeliverable: {one.number}",
        _REPORT,
    )
    body = one.report(notice, fields)
    return head + body.replace(
        "Content-Type: text/plain; charset=us-ascii", "Content-Type: text/html; charset=utf-8", 1
    )


def _complaint(one: _Sheet) -> str:
    head = one.head(
        f"complaints@{one.domain}",
        "FW: a letter",
        'multipart/report; report-type=feedback-report;\r\n\tboundary="=_report"',
    )
    return (
        f"{head}--=_report\r\nContent-Type: text/plain\r\n\r\nThis is an email abuse report for a message received from 192.0.2.9."
        "\r\n--=_report\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: Bench/1\r\nVersion: 1\r\n"
        f"Original-Rcpt-To: <{one.to}>\r\n\r\n--=_report\r\nContent-Type: message/rfc822\r\n\r\n{one.letter()}--=_report--\r\n"
    )


def _away(one: _Sheet) -> str:
    mail = EmailMessage(policy=SMTP)
    mail["From"] = f"{one.user} <{one.to}>"
    mail["To"] = "anna@example.org"
    mail["Subject"] = "Automatic reply: your letter"
    mail["Auto-Submitted"] = "auto-replied"
    mail["Date"] = "Sat, 21 Nov 2026 12:00:00 +0000"
    text = "I am out of the office until 30 November 2026 and have no access to my mail.\n\n" + one.prose(100)
    mail.set_content(text)
    mail.add_alternative(f"<p>{text}</p>", subtype="html")
    return mail.as_string()


_KINDS: tuple[Callable[[_Sheet], str], ...] = (
    *(_postfix, _postfix, _postfix, _sendmail, _only_headers, _html, _html),
    *(_exim, _exim, _qmail, _unknown_words, _complaint, _away),
)


def mails(number: int, *, seed: int = 3) -> Iterator[bytes]:
    """So many mails, the same ones for the same seed."""
    chance = random.Random(seed)
    for one in range(number):
        yield _KINDS[one % len(_KINDS)](_Sheet(one, chance)).encode()
