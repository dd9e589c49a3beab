"""A whole mail → the copy that one recipient gets, with its pixel and its links, before anything is signed (O9, T10, T15).

Nothing is written anew: what is changed is spliced into the bytes of the mail. What cannot be tracked safely leaves as it is, and why
is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from mailrelay.ids import DeliveryId
from mailrelay.mail.structure import Part, find_parts
from mailrelay.model.tracking import Tracked
from mailrelay.tracking import encoded
from mailrelay.tracking.links import LinkRules
from mailrelay.tracking.rewrite import Plan, Splice, apply, plan
from mailrelay.tracking.token import Keys, Kind, Maker, host_of

LARGEST_KEPT = 256 * 1024
"""Bytes of a mail that is remembered for its other recipients."""
_LARGEST = 2 * 1024 * 1024
"""Bytes of an HTML part; a larger one is no letter, and is left alone."""
# RFC 1847, RFC 8551, RFC 3156: a byte changed there, and the signature is broken or the content lost.
_SEALED = re.compile(
    r"multipart/(?:signed|encrypted|x-\w+-signed)|application/(?:x-)?(?:pkcs7|pgp)-(?:mime|signature|encrypted|keys)"
)
_SIGNED_FIELDS = frozenset(("dkim-signature", "domainkey-signature", "arc-seal", "arc-message-signature", "x-pgp-sig"))
_INLINE_PGP = b"-----BEGIN PGP "
_LIST_FIELDS = ("List-Unsubscribe", "List-Subscribe", "List-Help", "List-Owner", "List-Archive", "List-Post")
_URI = re.compile(r"<\s*(https?:[^>]*?)\s*>", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """How the copy of one delivery is tracked."""

    delivery: DeliveryId
    base: str
    """Where people reach our public endpoints, for this organisation: `https://links.acme.example`."""
    rules: LinkRules
    keys: Keys = field(repr=False)


def tracked_copy(raw: bytes, tracking: Tracking) -> tuple[bytes, Tracked]:
    """The mail with its pixel and links, and LINKS; else the mail as it is, and why. Never raises for what a mail holds.

    Every HTML part that is shown as the letter is rewritten: not what is attached, forwarded, signed or encrypted. The pixel stands in
    the first of them.
    """
    edits, said = tracking_edits(raw, tracking)
    return edited(raw, edits), said


@dataclass(frozen=True, slots=True)
class Edit:
    """Changes to what a part of a mail decodes to; its body stands at `start` to `end` of the mail."""

    start: int
    end: int
    body: encoded.Body
    splices: Sequence[Splice]


def tracking_edits(raw: bytes, tracking: Tracking) -> tuple[Sequence[Edit], Tracked]:
    """What gives a mail its pixel and links, and LINKS; else nothing, and why."""
    # A mail to many is read once; a large one goes to few, and is not kept.
    planned = (_kept if len(raw) <= LARGEST_KEPT else _planned)(raw, tracking.rules)
    if isinstance(planned, Tracked):
        return (), planned
    urls = _Urls(tracking)
    return [Edit(one.start, one.end, one.body, one.plan.splices(urls)) for one in planned], Tracked.LINKS


def edited(raw: bytes, edits: Iterable[Edit], others: Iterable[Splice] = ()) -> bytes:
    """The mail with these changes to its parts, and with `others` to its own bytes, which are outside the parts' bodies.

    Where two would change the same bytes of a part the one that comes first is made; at the same place it stands first.
    """
    parts: dict[int, tuple[Edit, list[Splice]]] = {}
    for one in edits:
        _, made = parts.setdefault(one.start, (one, []))
        before = tuple(made)
        made += [splice for splice in one.splices if not any(_overlap(splice, other) for other in before)]
    splices = [Splice(one.start, one.end, one.body.spliced(sorted(made, key=_place))) for one, made in parts.values()]
    return apply(raw, sorted((*splices, *others), key=_place)) if splices or others else raw


def _overlap(one: Splice, other: Splice) -> bool:
    return one.start < other.end and other.start < one.end


def _place(one: Splice) -> tuple[int, int]:
    return one.start, one.end


@dataclass(frozen=True, slots=True)
class _Letter:
    """An HTML part, where its body stands in the mail, and what is to be changed in it."""

    start: int
    end: int
    body: encoded.Body
    plan: Plan


def _planned(raw: bytes, rules: LinkRules) -> tuple[_Letter, ...] | Tracked:
    """What is to be changed in a mail, for whomever; or why nothing may be."""
    root, defects = find_parts(raw)
    if is_sealed(root):
        return Tracked.SIGNED
    parts = [part for part in shown(root) if part.type == "text/html"]
    if not parts:
        return Tracked.PLAIN
    rules = replace(rules, listed=frozenset(_listed(root)))
    letters: list[_Letter] = []
    for part in parts:
        first = letters[-1].plan.links + 1 if letters else 1
        letter = None if defects else _letter(part, rules, first=first, with_pixel=not letters)
        if letter is None:
            return Tracked.UNSAFE
        letters.append(letter)
    return tuple(letters)


_kept = lru_cache(maxsize=8)(_planned)


def forget() -> None:
    """Read the next mail anew."""
    _kept.cache_clear()


def is_sealed(root: Part) -> bool:
    """Whether somebody signed or encrypted a mail, so that no byte of its content may change."""
    if any(name in root.headers for name in _SIGNED_FIELDS):
        return True
    return any(_SEALED.fullmatch(part.type) for part in root.walk()) or _has_inline_pgp(root)


class _Urls:
    """See `rewrite.Urls`."""

    def __init__(self, tracking: Tracking) -> None:
        self._base = tracking.base
        self._maker = Maker(tracking.keys, host_of(tracking.base), tracking.delivery)

    def click(self, link: int, target: str) -> str:
        return f"{self._base}/c/{self._maker.make(Kind.CLICK, link=link, target=target)}"

    def pixel(self) -> str:
        return f"{self._base}/o/{self._maker.make(Kind.OPEN)}.gif"

    def decoy(self) -> str:
        return f"{self._base}/c/{self._maker.make(Kind.DECOY)}"


def _letter(part: Part, rules: LinkRules, *, first: int, with_pixel: bool) -> _Letter | None:
    """What is to be changed in an HTML part; None where it must stay as it is."""
    body = body_of(part)
    if body is None:
        return None
    charset = part.parameters.get("charset", "")
    found = plan(body.decoded, charset=charset, rules=rules, first=first, with_pixel=with_pixel)
    return None if found is None else _Letter(part.start, part.end, body, found)


def body_of(part: Part) -> encoded.Body | None:
    """The body of a part that may be changed; None where it must stay as it is."""
    single = ("Content-Transfer-Encoding", "Content-Type")
    if any(len(part.headers.fields_named(name)) > 1 for name in single) or "Content-MD5" in part.headers:
        return None
    if part.end - part.start > _LARGEST:
        return None
    return encoded.read(bytes(part.body), part.encoding)


def shown(part: Part) -> Iterator[Part]:
    """The parts that are shown as the letter: not attachments, not what stands inside an attached mail."""
    if part.is_multipart:
        for child in _letters_of_related(part) if part.type == "multipart/related" else part.children:
            yield from shown(child)
    elif part.disposition in ("", "inline") and not part.filename and not part.type.startswith("message/"):
        yield part


def _letters_of_related(part: Part) -> tuple[Part, ...]:
    """RFC 2387 §3.2: one part is the letter, by name or because it is the first; the others are what it shows."""
    start = part.parameters.get("start", "").strip().strip("<>")
    named = tuple(child for child in part.children if start and child.content_id == start)
    return named[:1] or part.children[:1]


def _listed(root: Part) -> Iterator[str]:
    for name in _LIST_FIELDS:
        for value in root.headers.all(name):
            yield from _URI.findall(value)


def _has_inline_pgp(root: Part) -> bool:
    """Whether a text of it is signed or encrypted in place, as older mail programs do it."""
    texts = (part for part in shown(root) if part.type.startswith("text/") and part.end - part.start <= _LARGEST)
    return any(_INLINE_PGP in part.decoded() for part in texts)
