"""Address lists of header fields (RFC 5322 §3.4 and §4.4, groups of RFC 6854) → names and addresses.

One linear scan (P07). What cannot be read without guessing has no address: `alice@good.com)bob@evil.com` names nobody, so that
the domain a policy looks at is always the domain that would be delivered to (P10). A display name is never an address (P08).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mailrelay.mail import charset, words
from mailrelay.model.address import Address
from mailrelay.smtp.address import BadAddress, format_address, parse_domain

MAX_MAILBOXES = 1_000
"""Per field; the rest is not read, and `read` says so."""
MAX_TOKENS = 12_000
MAX_CHARS = 128 * 1024

_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+)"
    r"|(?P<word>=\?[^\s?]{1,60}\?[bBqQ]\?[^\s?]*\?=)"
    r"|(?P<atom>[^\s\"(),:;<>@\[\]\\]+)"
    r"|(?P<special>[,:;<>@()\[\]\\\"])"
    r"|(?P<other>.)",
    re.DOTALL,
)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_UNESCAPE = re.compile(r"\\(.)", re.DOTALL)
_LITERAL = re.compile(r"\[[0-9A-Za-z:.\-]{1,80}\]")
_COMMENT_STEP = re.compile(r"[^()\\]*(?:\\.|[()])", re.DOTALL)
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One entry of an address list. `address` is None when the entry names none that is certain; `source` is its text then."""

    name: str
    address: Address | None
    source: str = ""


@dataclass(frozen=True, slots=True)
class AddressList:
    """What `read` found. `defects` names what was odd: "no address", "too many addresses", "address too long"."""

    mailboxes: tuple[Mailbox, ...]
    defects: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The certain ones, in order."""
        return tuple(entry.address for entry in self.mailboxes if entry.address is not None)


class _Token(NamedTuple):
    kind: str  # space, word, atom, quoted, comment, literal, or the special character itself
    text: str


def read(value: str) -> AddressList:
    """Read an unfolded, undecoded address-list value (`Field.value`). Never raises, linear in its length."""
    defects: list[str] = []
    value = value[:MAX_CHARS]
    mailboxes: list[Mailbox] = []
    tokens = _tokens(value)
    if len(tokens) >= MAX_TOKENS:
        defects.append("address list too long")
    for item in _items(tokens):
        if len(mailboxes) >= MAX_MAILBOXES:
            defects.append("too many addresses")
            break
        mailboxes.append(_mailbox(item))
    if any(mailbox.address is None for mailbox in mailboxes):
        defects.append("no address")
    return AddressList(tuple(mailboxes), tuple(defects))


def parse(text: str) -> Address | None:
    """The address of one bare addr-spec (`alice@example.com`, comments and quotes allowed), or None."""
    return _address(list(_tokens(text[:1_000])))


def _tokens(value: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    quotes = comments = True  # false once one was left open: searching again for its end would be quadratic
    while len(tokens) < MAX_TOKENS and (match := _TOKEN.match(value, at)):
        kind = match.lastgroup or "other"
        text = match[0]
        at = match.end()
        if kind == "special":
            kind = text
            if text == '"' and quotes:
                quoted = _QUOTED.match(value, at - 1)
                if quoted:
                    kind, text, at = "quoted", _UNESCAPE.sub(r"\1", quoted[1]), quoted.end()
                else:
                    quotes = False
            elif text == "(" and comments:
                end = _comment_end(value, at)
                if end:
                    kind, text, at = "comment", _UNESCAPE.sub(r"\1", value[at : end - 1]), end
                else:
                    comments = False
            elif text == "[" and (literal := _LITERAL.match(value, at - 1)):
                kind, text, at = "literal", literal[0], literal.end()
        tokens.append(_Token(kind, text))
    return tokens


def _comment_end(value: str, at: int) -> int:
    """The offset after the comment whose `(` stands before `at`, or 0; comments nest (RFC 5322 §3.2.2)."""
    depth = 1
    while match := _COMMENT_STEP.match(value, at):
        at = match.end()
        last = value[at - 1]
        if value[at - 2 : at - 1] == "\\" and _escaped(value, at - 1, match.start()):
            continue
        depth += 1 if last == "(" else -1
        if depth == 0:
            return at
    return 0


def _escaped(value: str, at: int, start: int) -> bool:
    """Whether the character at `at` is the second of a quoted-pair; a step ends in one at most."""
    return value.find("\\", start, at) == at - 1


def _items(tokens: Sequence[_Token]) -> list[list[_Token]]:
    """Split a list at its commas and semicolons, outside of `<…>`; group names are dropped."""
    items: list[list[_Token]] = []
    item: list[_Token] = []
    closing = _closing(tokens)
    inside = -1  # index of the `>` that ends the angle we are in
    for index, token in enumerate(tokens):
        if index <= inside:
            item.append(token)
            continue
        if token.kind == "<":
            inside = closing[index]
            item.append(token)
        elif token.kind in (",", ";"):
            items.append(item)
            item = []
        elif token.kind == ":" and not any(other.kind in ("<", "@") for other in item[-8:]):
            item = []  # RFC 6854 §2.1: the display name of a group
        else:
            item.append(token)
    items.append(item)
    return _with_commas([item for item in items if any(token.kind not in ("space", "comment") for token in item)])


def _with_commas(items: list[list[_Token]]) -> list[list[_Token]]:
    """Give `Doe, John <j@x>` its name back: a few words without `@` before a comma belong to the `<…>` that follows."""
    joined: list[list[_Token]] = []
    for item in items:
        if joined and item[-1].kind in (">", "space") and len(joined[-1]) <= 8 and _are_words(joined[-1]):
            opening = next((index for index, token in enumerate(item) if token.kind == "<"), 0)
            if opening and _are_words(item[:opening]):
                joined[-1] = [*joined[-1], _Token("atom", ","), *item]
                continue
        joined.append(item)
    return joined


def _are_words(tokens: Sequence[_Token]) -> bool:
    return any(token.kind in ("atom", "word") for token in tokens) and all(
        token.kind in ("atom", "word", "space") for token in tokens
    )


def _closing(tokens: Sequence[_Token]) -> list[int]:
    """For each `<`, the index of the `>` that comes before any other `<`; -1 when it stays open."""
    closing = [-1] * len(tokens)
    seen = -1
    for index in range(len(tokens) - 1, -1, -1):
        if tokens[index].kind == ">":
            seen = index
        elif tokens[index].kind == "<":
            closing[index] = seen
            seen = -1
    return closing


def _mailbox(item: list[_Token]) -> Mailbox:
    source = "".join(_source(token) for token in item).strip()
    opening = [index for index, token in enumerate(item) if token.kind == "<"]
    if opening:
        # With several, the last is the address: what stands before it is a display name, whatever it looks like (P08).
        start = opening[-1]
        end = next((index for index in range(start, len(item)) if item[index].kind == ">"), len(item))
        inside = item[start + 1 : end]
        if inside and inside[0].kind == "@":  # RFC 5322 §4.4: an obsolete route, ignored
            colon = next((index for index, token in enumerate(inside) if token.kind == ":"), -1)
            inside = inside[colon + 1 :]
        after = [token for token in item[end + 1 :] if token.kind != "space"]
        strays = any(token.kind not in ("comment", "atom", "word", "quoted") for token in after)
        address = None if strays else _address(inside)
        name = _phrase(item[:start]) or _phrase([token for token in after if token.kind == "comment"])
        return Mailbox(name, address, source)
    address = _address(item)
    comments = [token for token in item if token.kind == "comment"]
    if address is not None:
        return Mailbox(_phrase(comments), address, source)
    if not any(token.kind == "@" for token in item):
        return Mailbox(_phrase(item), None, source)
    # `John Doe john@example.com`: the last word, when it is an address by itself and the rest holds no other.
    last = max(
        (index for index, token in enumerate(item) if token.kind == "space" and index < len(item) - 1), default=-1
    )
    head = item[: max(last, 0)]
    if head and not any(token.kind in ("@", "(", ")", "<", ">", "comment") for token in head):
        address = _address(item[last + 1 :])
        if address is not None:
            return Mailbox(_phrase(head), address, source)
    return Mailbox("", None, source)


def _address(tokens: Sequence[_Token]) -> Address | None:
    """The addr-spec that these tokens are, comments and blanks where RFC 5322 §4.4 lets them stand; None for anything else."""
    parts: list[_Token] = []
    gap = False
    for token in tokens:
        if token.kind in ("space", "comment"):
            gap = True
            continue
        joined = parts and parts[-1].kind != "@" and token.kind != "@"
        if gap and joined and not (parts[-1].text.endswith(".") or token.text.startswith(".")):
            return None  # two words with only a blank or comment between them: `user@good.com(x)evil.com` (P10)
        parts.append(token)
        gap = False
    signs = [index for index, token in enumerate(parts) if token.kind == "@"]
    if len(signs) != 1:
        return None
    local_parts, domain_parts = parts[: signs[0]], parts[signs[0] + 1 :]
    if not local_parts or any(token.kind not in ("atom", "quoted", "word") for token in local_parts):
        return None
    if not domain_parts or any(token.kind not in ("atom", "literal") for token in domain_parts):
        return None
    if len(domain_parts) > 1 and any(token.kind == "literal" for token in domain_parts):
        return None
    local = "".join(token.text for token in local_parts)
    if not local or len(local) > 255 or _CONTROL.search(local):
        return None
    try:
        # The same reading as the envelope's, so that the domain judged is the domain delivered to (P10).
        domain = parse_domain("".join(token.text for token in domain_parts).removesuffix("."))
    except BadAddress:
        return None
    return Address(charset.storable(local), domain)


def _phrase(tokens: Sequence[_Token]) -> str:
    """A display name: words with single blanks, quotes gone, encoded words decoded."""
    text = "".join(" " if token.kind == "space" else token.text for token in tokens if token.text != '"')
    return " ".join(words.decode(text).split())


def _source(token: _Token) -> str:
    if token.kind == "quoted":
        return f'"{token.text}"'
    return f"({token.text})" if token.kind == "comment" else token.text


def format_mailbox(name: str, address: Address) -> str:
    """`Name <local@domain>` for a header field, the name quoted or encoded as it needs (RFC 5322 §3.4, RFC 2047 §5).

    Raises BadAddress when the address has no wire form (P09); a name's control characters are for `headers.encode_field` to refuse.
    """
    spec = format_address(address)
    if not name:
        return spec
    if not name.isascii():
        return f"{words.encode(name)} <{spec}>"
    if _ATOMS.fullmatch(name) and "=?" not in name:
        return f"{name} <{spec}>"
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" <{spec}>'
