"""The arguments of MAIL and RCPT, with the parameters of the extensions we know; values keep their case (S16).

SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), RET, ENVID, NOTIFY and ORCPT (RFC 3461), AUTH (RFC 4954),
REQUIRETLS (RFC 8689: read here, offered or refused by the edge), HOLDFOR and HOLDUNTIL (RFC 4865: offered on submission).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from mailrelay.model.address import ReversePath
from mailrelay.model.envelope import BodyType, EnvelopeRecipient, MailParams, Notify, Ret
from mailrelay.model.reply import Reply, reply
from mailrelay.smtp.address import parse_forward_path, parse_reverse_path, split_path
from mailrelay.smtp.escape import HIDDEN, shown

MAX_ENVID = 100  # RFC 3461 §4.4: octets of xtext
MAX_ORCPT = 500  # RFC 3461 §4.2
_MAX_SIZE_DIGITS = 20  # RFC 1870 §3
_MAX_HOLD_DIGITS = 9
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

MAIL_PARAMETERS: Final = frozenset(
    {"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "AUTH", "REQUIRETLS", "HOLDFOR", "HOLDUNTIL"}
)
RCPT_PARAMETERS: Final = frozenset({"NOTIFY", "ORCPT"})
_WITHOUT_VALUE = frozenset({"SMTPUTF8", "REQUIRETLS"})

_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*", re.ASCII)
# RFC 3461 §4: printable ASCII but "+" and "=", which are written +2B and +3D.
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*", re.ASCII)
_HEX = re.compile(r"\+([0-9A-F]{2})")
# RFC 6533 §3: \x{HEX} for a character beyond ASCII, or one that xtext would have to encode.
_UNITEXT = re.compile(r"\\x\{([0-9A-F]{2,6})\}")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)


class BadParameter(ValueError):
    """A parameter that is unknown, doubled or malformed; `reply` is what the client is told, `str` its sentence."""

    def __init__(self, refusal: Reply) -> None:
        super().__init__(refusal.text)
        self.reply = refusal


def parse_mail(argument: bytes | str) -> tuple[ReversePath, MailParams]:
    """All that follows `MAIL FROM:`. Raises BadAddress, BadParameter.

    SMTPUTF8 stands behind the path that needs it, so the parameters are read first.
    """
    _, rest = split_path(argument)
    params = parse_mail_params(rest)
    path, _ = parse_reverse_path(argument, smtputf8=params.smtputf8)
    return path, params


def parse_rcpt(argument: bytes | str, *, smtputf8: bool, local_domain: str) -> EnvelopeRecipient:
    """All that follows `RCPT TO:`; `smtputf8` is what MAIL said. Raises BadAddress, BadParameter."""
    address, rest = parse_forward_path(argument, smtputf8=smtputf8, local_domain=local_domain)
    notify, orcpt = parse_rcpt_params(rest, smtputf8=smtputf8)
    return EnvelopeRecipient(address=address, notify=notify, orcpt=orcpt)


def parse_mail_params(text: str) -> MailParams:
    """The parameters of MAIL, e.g. `SIZE=1000 BODY=8BITMIME`; empty is fine. Raises BadParameter."""
    values = _split(text, MAIL_PARAMETERS)
    if "HOLDFOR" in values and "HOLDUNTIL" in values:
        raise BadParameter(reply(501, "5.5.4", "HOLDFOR and HOLDUNTIL exclude each other"))
    return MailParams(
        size=_size(values["SIZE"]) if "SIZE" in values else None,
        body=_body(values["BODY"]) if "BODY" in values else None,
        smtputf8="SMTPUTF8" in values,
        ret=_ret(values["RET"]) if "RET" in values else None,
        envid=_envid(values["ENVID"]) if "ENVID" in values else None,
        auth=_auth(values["AUTH"]) if "AUTH" in values else None,
        requiretls="REQUIRETLS" in values,
        hold_for=_hold_for(values["HOLDFOR"]) if "HOLDFOR" in values else None,
        hold_until=_hold_until(values["HOLDUNTIL"]) if "HOLDUNTIL" in values else None,
    )


def parse_rcpt_params(text: str, *, smtputf8: bool = False) -> tuple[frozenset[Notify], str | None]:
    """The parameters of RCPT: NOTIFY (empty when not said) and ORCPT as `type;address`, decoded. Raises BadParameter."""
    values = _split(text, RCPT_PARAMETERS)
    notify = _notify(values["NOTIFY"]) if "NOTIFY" in values else frozenset()
    return notify, _orcpt(values["ORCPT"], smtputf8=smtputf8) if "ORCPT" in values else None


def encode_xtext(text: str) -> str:
    """`text` as xtext, for ENVID, ORCPT and AUTH on the way out (RFC 3461 §4). Raises ValueError on what is not ASCII."""
    octets = text.encode("ascii")
    return "".join(chr(o) if 33 <= o <= 126 and o not in b"+=" else f"+{o:02X}" for o in octets)


def encode_orcpt(orcpt: str) -> str:
    r"""A decoded `type;address` as RCPT carries it: xtext, or `\x{HEX}` in an address of type utf-8 (RFC 6533 §3).

    Raises ValueError on what is not ASCII in an address of another type.
    """
    kind, _, address = orcpt.partition(";")
    if kind.lower() != "utf-8":
        return f"{kind};{encode_xtext(address)}"
    return f"{kind};" + "".join(
        char if "!" <= char <= "~" and char not in "+=\\" else f"\\x{{{ord(char):02X}}}" for char in address
    )


def decode_xtext(text: str) -> str:
    """The text that an xtext stands for. Raises ValueError when it is none, or when it hides a control character."""
    if not _XTEXT.fullmatch(text):
        raise ValueError("not xtext")
    decoded = _HEX.sub(lambda match: chr(int(match[1], 16)), text)
    # S14: +0D+0A would come out as a line end in a report or towards the next hop.
    if not decoded.isascii() or HIDDEN.search(decoded):
        raise ValueError("xtext that holds control or 8-bit characters")
    return decoded


def _split(text: str, known: frozenset[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for word in text.split(" "):
        if not word:
            continue
        keyword, equals, value = word.partition("=")
        name = keyword.upper()
        if not _KEYWORD.fullmatch(keyword) or (equals and not value) or HIDDEN.search(value):
            raise BadParameter(reply(501, "5.5.4", f"{shown(word)} is not a parameter"))
        if name not in known:
            # RFC 5321 §4.1.1.11: parameters not recognised are 555.
            raise BadParameter(reply(555, "5.5.4", f"The parameter {shown(keyword)} is not offered here"))
        if name in values:
            raise BadParameter(reply(501, "5.5.4", f"The parameter {name} is there twice"))
        if bool(equals) == (name in _WITHOUT_VALUE):
            raise _malformed(name, word)
        values[name] = value
    return values


def _malformed(name: str, value: str) -> BadParameter:
    return BadParameter(reply(501, "5.5.4", f"{shown(value)} is not a valid value of the parameter {name}"))


def _size(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= _MAX_SIZE_DIGITS):
        raise _malformed("SIZE", value)
    return int(value)


def _hold_for(value: str) -> int:
    # RFC 4865 §4: at most nine digits of seconds.
    if not (value.isascii() and value.isdigit() and len(value) <= _MAX_HOLD_DIGITS):
        raise _malformed("HOLDFOR", value)
    return int(value)


def _hold_until(value: str) -> datetime:
    # RFC 4865 §4 (errata 2040): the date-time of RFC 3339 §5.6, which has seconds and an offset. Its leap second is the one after.
    leap = value[17:19] == "60"
    try:
        if not _DATE_TIME.fullmatch(value):
            raise ValueError(value)
        at = datetime.fromisoformat((value[:17] + "59" + value[19:] if leap else value).upper())
        return at + timedelta(seconds=leap)
    except (ValueError, OverflowError):
        raise _malformed("HOLDUNTIL", value) from None


def _body(value: str) -> BodyType:
    try:
        return BodyType(value.upper())
    except ValueError:
        # RFC 3030's BINARYMIME is a value of an extension that is not offered.
        raise BadParameter(reply(555, "5.5.4", f"BODY={shown(value)} is not offered here")) from None


def _ret(value: str) -> Ret:
    try:
        return Ret(value.upper())
    except ValueError:
        raise _malformed("RET", value) from None


def _envid(value: str) -> str:
    try:
        if len(value) > MAX_ENVID:
            raise ValueError("too long")
        return decode_xtext(value)
    except ValueError:
        raise _malformed("ENVID", value) from None


def _auth(value: str) -> str:
    # RFC 4954 §5: xtext of a mailbox, or "<>"; nobody here relies on it, so it need not be a mailbox.
    try:
        return decode_xtext(value)
    except ValueError:
        raise _malformed("AUTH", value) from None


def _notify(value: str) -> frozenset[Notify]:
    try:
        words = [Notify(word) for word in value.upper().split(",")]
    except ValueError:
        raise _malformed("NOTIFY", value) from None
    notify = frozenset(words)
    # RFC 3461 §4.1: NEVER excludes the others.
    if Notify.NEVER in notify and len(words) > 1:
        raise _malformed("NOTIFY", value)
    return notify


def _orcpt(value: str, *, smtputf8: bool) -> str:
    kind, semicolon, encoded = value.partition(";")
    if not semicolon or not encoded or len(value) > MAX_ORCPT or not _ADDRESS_TYPE.fullmatch(kind):
        raise _malformed("ORCPT", value)
    try:
        if kind.lower() == "utf-8":
            return f"{kind};{_decode_utf8_address(encoded, smtputf8=smtputf8)}"
        return f"{kind};{decode_xtext(encoded)}"
    except ValueError:
        raise _malformed("ORCPT", value) from None


def _decode_utf8_address(text: str, *, smtputf8: bool) -> str:
    # RFC 6533 §3: utf-8-addr-unitext (8-bit, only with SMTPUTF8) or utf-8-addr-xtext (\x{HEX} in ASCII).
    if not smtputf8 and not text.isascii():
        raise ValueError("8-bit without SMTPUTF8")
    decoded = _UNITEXT.sub(_unitext_character, _HEX.sub(lambda match: chr(int(match[1], 16)), text))
    if HIDDEN.search(decoded):
        raise ValueError("hidden characters")
    return decoded


def _unitext_character(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))  # ValueError beyond U+10FFFF
