"""Mailbox and Path as SMTP writes them: RFC 5321 §4.1.2 and §4.1.3, RFC 6531 §3.3, IDNA by UTS 46.

An address that could mean two things is refused, never guessed: the domain that is judged is the domain that is used (P10).
"""

from __future__ import annotations

import ipaddress
import re

from mailrelay.model.address import Address, ReversePath
from mailrelay.model.reply import Reply, reply
from mailrelay.smtp import codes
from mailrelay.smtp.escape import HIDDEN, shown

# RFC 5321 §4.5.3.1 asks for *at least* these; a path's 256 would forbid the domain of 255, so it is not a limit of its own.
MAX_LOCAL = 64
MAX_DOMAIN = 255
# Longer text cannot hold a valid address, quoting and UTF-8 included; it is not looked at.
_MAX_TEXT = 2_048

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
# RFC 5321 §4.1.2 has no underscore in a domain; hosts that name themselves so do send mail.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_PLAIN = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@({_DOMAIN})", re.ASCII)
_PLAIN_DOMAIN = re.compile(_DOMAIN, re.ASCII)
_UTF8_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_DOT_STRING = re.compile(rf"{_UTF8_ATOM}(?:\.{_UTF8_ATOM})*")
_QUOTED = re.compile(r'"([^"\\]*(?:\\[\x20-\x7e][^"\\]*)*)"')
_PAIR = re.compile(r"\\(.)")
_LITERAL = re.compile(r"\[(IPv6:)?([0-9A-Fa-f:.]+)\]", re.ASCII | re.IGNORECASE)
# Up to the `>` that is not inside a quoted string, and what is behind it.
_PATH = re.compile(r'<([^"<>]*(?:"[^"\\]*(?:\\.[^"\\]*)*"[^"<>]*)*)>(.*)')
_RELAY_MARKS = frozenset("@%!")


class BadAddress(ValueError):
    """Text that is not one address; `str` is a sentence that says why, `reply` what an SMTP client is told."""

    def __init__(self, why: str, *, refusal: Reply | None = None) -> None:
        super().__init__(why)
        self.reply = refusal or reply(501, "5.1.3", why)


def parse_address(text: str, *, smtputf8: bool = True) -> Address:
    """A bare `local@domain` (Mailbox), for SMTP, the API, the configuration and header fields alike.

    Raises BadAddress, also for a non-ASCII local part without `smtputf8`. The domain comes back lower-case in A-labels.
    """
    if len(text) > _MAX_TEXT:
        raise BadAddress("The address is too long")
    if (plain := _PLAIN.fullmatch(text)) and len(plain[1]) <= MAX_LOCAL and len(plain[2]) <= MAX_DOMAIN:
        return Address(plain[1], plain[2].lower())
    _refuse_hidden(text)
    local, rest = _take_local(text)
    if not rest:
        # Without a domain only a server that fills one in could use it: `<victim%elsewhere.example>` (S22).
        raise BadAddress("The address has no @domain", refusal=codes.RELAY_DENIED if relay_disguise(local) else None)
    if "@" in rest[1:]:
        raise BadAddress("The address has more than one @", refusal=codes.RELAY_DENIED)
    if not smtputf8 and not text.isascii():
        raise BadAddress("The address holds characters beyond ASCII, which need SMTPUTF8", refusal=codes.LINE_SYNTAX)
    if len(_quote(local).encode()) > MAX_LOCAL:
        raise BadAddress(f"The part before the @ is longer than {MAX_LOCAL} octets")
    return Address(local, parse_domain(rest[1:]))


def parse_domain(text: str) -> str:
    """A domain in lower-case A-labels, or an address literal `[192.0.2.1]`, `[IPv6:2001:db8::1]` in its one spelling.

    Raises BadAddress. A trailing dot is not part of a domain in mail (RFC 5321 §2.3.5).
    """
    if text.startswith("["):
        return _literal(text)
    domain = text
    if not text.isascii():
        # The cap stands before idna, whose time grows with the square of the length.
        if len(text) > MAX_DOMAIN:
            raise BadAddress(f"The domain is longer than {MAX_DOMAIN} octets")
        import idna  # here, for its tables take time that a command-line tool does not have

        try:
            domain = idna.encode(text, uts46=True, std3_rules=True, transitional=False).decode("ascii")
        except (ValueError, IndexError) as error:
            raise BadAddress(f"{shown(text)} is not a valid internationalised domain") from error
    if len(domain) > MAX_DOMAIN:
        raise BadAddress(f"The domain is longer than {MAX_DOMAIN} octets")
    if not _PLAIN_DOMAIN.fullmatch(domain):
        raise BadAddress(f'"{shown(text)}" is not a domain')
    return domain.lower()


def parse_reverse_path(argument: bytes | str, *, smtputf8: bool) -> tuple[ReversePath, str]:
    """What follows `MAIL FROM:`: the path (None for `<>`, RFC 5321 §4.5.5) and the text of the parameters behind it.

    Raises BadAddress.
    """
    inner, rest = split_path(argument)
    if not inner:
        return None, rest
    try:
        return parse_address(_without_route(inner), smtputf8=smtputf8), rest
    except BadAddress as bad:
        if bad.reply is codes.LINE_SYNTAX:
            raise
        raise BadAddress(str(bad), refusal=reply(501, "5.1.7", str(bad))) from bad


def parse_forward_path(argument: bytes | str, *, smtputf8: bool, local_domain: str) -> tuple[Address, str]:
    """What follows `RCPT TO:`: the address and the text of the parameters behind it. Raises BadAddress.

    The bare `<Postmaster>` of RFC 5321 §4.5.1, in any case, is postmaster at `local_domain`.
    """
    inner, rest = split_path(argument)
    if not inner:
        raise BadAddress("RCPT TO names no recipient")
    if inner.lower() == "postmaster":
        return Address("postmaster", local_domain), rest
    return parse_address(_without_route(inner), smtputf8=smtputf8), rest


def split_path(argument: bytes | str) -> tuple[str, str]:
    """The text between the angle brackets, not yet read, and the parameters behind them. Raises BadAddress.

    A space before the path is let pass: clients that send it are many, and it can mean nothing else.
    """
    if isinstance(argument, bytes):
        try:
            argument = argument.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadAddress("The command is not UTF-8", refusal=codes.LINE_SYNTAX) from error
    _refuse_hidden(argument)
    if not argument.removeprefix(" ").startswith("<"):
        raise _unbracketed("The address must stand in angle brackets: <user@example.org>")
    found = _PATH.fullmatch(argument.removeprefix(" "))
    if found is None or (found[2] and not found[2].startswith(" ")):
        raise _unbracketed("The angle brackets around the address are not closed, or something clings to them")
    return found[1], found[2].strip(" ")


def _unbracketed(why: str) -> BadAddress:
    return BadAddress(why, refusal=reply(501, "5.5.4", why))


def format_address(address: Address) -> str:
    """`local@domain` in the wire's form, the local part quoted only when it must be. Raises BadAddress.

    An Address that no wire form can carry (a line end in it, say) is refused: it would be a second command (P09, S14).
    """
    if address.domain.isascii() and _PLAIN.fullmatch(text := f"{address.local}@{address.domain}"):
        return text
    _refuse_hidden(address.local)
    if not (_PLAIN_DOMAIN.fullmatch(address.domain) or _LITERAL.fullmatch(address.domain)):
        raise BadAddress(f"{shown(address.domain)} is not a domain")
    return f"{_quote(address.local)}@{address.domain}"


def format_path(path: ReversePath) -> str:
    """`<local@domain>`, or `<>` for the null reverse-path. Raises BadAddress as `format_address` does."""
    return "<>" if path is None else f"<{format_address(path)}>"


def relay_disguise(local: str) -> bool:
    """Whether a local part asks the server to pass mail on: `user%elsewhere`, `elsewhere!user`, `"user@elsewhere"` (S22)."""
    return not _RELAY_MARKS.isdisjoint(local)


def _take_local(text: str) -> tuple[str, str]:
    """The local part as meant, and the rest of the text, which begins with @ or is empty."""
    if text.startswith('"'):
        found = _QUOTED.match(text)
        if found is None:
            raise BadAddress("The quotation marks in the address are not closed")
        local = _PAIR.sub(r"\1", found[1])
    else:
        found = _DOT_STRING.match(text)
        if found is None:
            raise BadAddress(f'"{shown(text)}" is not an address' if text else "The address is empty")
        local = found[0]
    rest = text[found.end() :]
    if rest and not rest.startswith("@"):
        raise BadAddress(f'After "{shown(text[: found.end()])}" an @ must follow, not "{shown(rest)}"')
    return local, rest


def _without_route(inner: str) -> str:
    """The mailbox of `@one.example,@two.example:user@example.org`; the route is checked, then ignored."""
    if not inner.startswith("@"):
        return inner
    # RFC 5321 §4.1.1.3, appendix C: source routes are accepted and should be ignored.
    route, colon, mailbox = inner.partition(":")
    if not colon:
        raise BadAddress("The source route names no mailbox")
    for hop in route.split(","):
        if not hop.startswith("@"):
            raise BadAddress("The source route is malformed")
        parse_domain(hop[1:])
    return mailbox


def _literal(text: str) -> str:
    found = _LITERAL.fullmatch(text)
    try:
        if found and found[1]:
            return f"[IPv6:{ipaddress.IPv6Address(found[2])}]"
        if found:
            return f"[{ipaddress.IPv4Address(found[2])}]"
    except ValueError:
        pass
    raise BadAddress(f"{shown(text)} is not an address literal like [192.0.2.1] or [IPv6:2001:db8::1]")


def _quote(local: str) -> str:
    if _DOT_STRING.fullmatch(local):
        return local
    escaped = local.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _refuse_hidden(text: str) -> None:
    # S12, S14: CR, LF, NUL and their like are never part of an address, quoted or not.
    if HIDDEN.search(text):
        raise BadAddress("The address holds control characters", refusal=codes.LINE_SYNTAX)
