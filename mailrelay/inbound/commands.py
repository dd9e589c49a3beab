"""What a client says, a command line at a time, and what EHLO offers it: bytes in, values out, no socket (RFC 5321 §4.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailrelay.model.address import ReversePath
from mailrelay.model.envelope import EnvelopeRecipient, MailParams
from mailrelay.model.reply import Reply
from mailrelay.smtp import codes
from mailrelay.smtp.address import BadAddress, split_path
from mailrelay.smtp.params import BadParameter, parse_mail, parse_rcpt

MAX_LINE = 2_048
MAX_AUTH_LINE = 12_288  # RFC 4954 §4
USELESS = frozenset({"NOOP", "RSET", "VRFY", "EXPN", "HELP"})
"""Commands that bring no mail any further; a client that says little else is shown out (S18)."""

PROXY_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
"""How a header of the PROXY protocol's second version begins."""

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_VERB = re.compile(rb"[A-Za-z]{1,16}")
_HTTP = re.compile(rb"[A-Z]{3,8} \S+ HTTP/\d")
_MAY_BE_8BIT = frozenset({"MAIL", "RCPT"})  # SMTPUTF8 addresses; their parser decides (RFC 6531 §3.3)


@dataclass(frozen=True, slots=True)
class Command:
    """`verb` in capitals, `argument` without outer blanks, perhaps empty."""

    verb: str
    argument: bytes


def read_command(line: bytes) -> Command | Reply:
    """The command in a line without its CRLF, or why it is none (S12, S14)."""
    if _CONTROL.search(line):
        return codes.LINE_SYNTAX
    word, _, argument = line.partition(b" ")
    if not _VERB.fullmatch(word):
        return codes.LINE_SYNTAX if not word.isascii() else codes.COMMAND_UNKNOWN
    verb = word.upper().decode("ascii")
    if not argument.isascii() and verb not in _MAY_BE_8BIT:
        return codes.LINE_SYNTAX
    return Command(verb, argument.strip(b" "))


def other_protocol(start: bytes) -> str:
    """What else than a command `start` begins (`HTTP`, `TLS`, `PROXY`), or "" for what may be SMTP (S27, S28)."""
    if start.startswith(b"\x16\x03"):
        return "TLS"
    if start.startswith((b"PROXY ", PROXY_V2)):
        return "PROXY"
    return "HTTP" if _HTTP.match(start) else ""


def ehlo(
    hostname: str, *, max_size: int, starttls: bool, mechanisms: tuple[str, ...], future_release: str = ""
) -> Reply:
    """The answer to EHLO; `mechanisms` of AUTH as they may be used now, none when it may not; `future_release` as a door has it."""
    offers = ["PIPELINING", f"SIZE {max_size}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN"]
    if future_release:
        offers.append(f"FUTURERELEASE {future_release}")
    if starttls:
        offers.append("STARTTLS")
    if mechanisms:
        offers.append("AUTH " + " ".join(mechanisms))
    # RFC 2034 §4: the answers to EHLO and HELO have no enhanced status.
    return Reply(250, None, (f"{hostname} is ready", *offers))


def helo(hostname: str) -> Reply:
    """The answer to HELO."""
    return Reply(250, None, (f"{hostname} is ready",))


def banner(hostname: str) -> Reply:
    """The greeting (RFC 5321 §4.2: it has no enhanced status)."""
    return Reply(220, None, (f"{hostname} ESMTP mailrelay",))


def read_mail(argument: bytes, *, extended: bool) -> tuple[ReversePath, MailParams] | Reply:
    """The sender and parameters of MAIL, or why not; `extended` is whether the client said EHLO."""
    if argument[:5].upper() != b"FROM:":
        return codes.SYNTAX
    try:
        if refusal := _parameters_refused(argument[5:], extended=extended):
            return refusal
        path, params = parse_mail(argument[5:])
    except (BadAddress, BadParameter) as bad:
        return bad.reply
    # RFC 8689: read, but nothing on the way out can promise it yet.
    return codes.UNKNOWN_PARAMETER if params.requiretls else (path, params)


def read_rcpt(argument: bytes, *, extended: bool, smtputf8: bool, local_domain: str) -> EnvelopeRecipient | Reply:
    """The recipient of RCPT, or why not; `smtputf8` is what MAIL said, `local_domain` is where the bare postmaster is."""
    if argument[:3].upper() != b"TO:":
        return codes.SYNTAX
    try:
        if refusal := _parameters_refused(argument[3:], extended=extended):
            return refusal
        return parse_rcpt(argument[3:], smtputf8=smtputf8, local_domain=local_domain)
    except (BadAddress, BadParameter) as bad:
        return bad.reply


def read_chunk_size(argument: bytes) -> int | None:
    """The octets that follow a BDAT line (RFC 3030 §2), None when it does not say."""
    size = argument.partition(b" ")[0]
    return int(size) if size.isdigit() and len(size) <= 20 else None


def _parameters_refused(argument: bytes, *, extended: bool) -> Reply | None:
    # S26: parameters belong to extensions, and HELO asked for none.
    return codes.UNKNOWN_PARAMETER if not extended and split_path(argument)[1] else None
