"""The structure of a mail (RFC 2045, RFC 2046): one scan of its bytes finds the parts, which are decoded only when asked for.

Caps: depth 50, 1,000 parts, the header block's own (P01, P02, P06). Nothing raises; what was odd is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mailrelay.mail import charset, parameters, text, transfer, words
from mailrelay.mail.headers import HeaderBlock, only_cr

MAX_DEPTH = 50
MAX_PARTS = 1_000
MAX_FALSE_HITS = 10_000
"""Lines that look like a boundary and are none; with more, the rest of the mail is not taken apart."""
MAX_NAME_CHARS = 1_000

# A first line like `Note: …` does not make a text a mail; one of these does.
_KNOWN_FIELDS = frozenset(
    "from to cc bcc subject date message-id received return-path sender reply-to mime-version content-type "  # noqa: SIM905
    "content-transfer-encoding content-disposition delivered-to references in-reply-to x-mailer dkim-signature".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One MIME entity. `raw[start:end]` is its body as it stands; `children` are its parts, or the one mail inside a
    `message/rfc822`. `path` is its place: "" for the mail itself, then "1", "1.2", ….
    """

    raw: bytes
    headers: HeaderBlock
    path: str
    type: str
    """`text/plain`: lower-case; what is missing or unreadable reads as its default (RFC 2045 §5.2)."""
    parameters: dict[str, str]
    disposition: str
    """`attachment`, `inline`, another word, or ""."""
    filename: str
    """Decoded; data from a stranger and never a path (P04)."""
    encoding: str
    start: int
    end: int
    children: tuple[Part, ...] = ()

    @property
    def body(self) -> memoryview:
        """The body as sent, without a copy."""
        return memoryview(self.raw)[self.start : self.end]

    @property
    def is_multipart(self) -> bool:
        """Whether `children` are parts of a multipart."""
        return self.type.startswith("multipart/") and bool(self.children)

    @property
    def content_id(self) -> str:
        """Content-ID without angle brackets, or ""."""
        return (self.headers.get("Content-ID") or "").strip().strip("<>")

    def decoded(self) -> bytes:
        """The body with its transfer encoding undone (RFC 2045 §6), as far as that goes; never raises."""
        return transfer.decode(self.raw[self.start : self.end], self.encoding)

    def text(self) -> str:
        r"""The decoded body as text with `\\n` line ends, by the declared charset or what fits; never raises."""
        declared = self.parameters.get("charset", "")
        data = self.decoded()
        if not declared and self.type == "text/html":
            declared = text.declared_charset(data)
        content = charset.decode(data, declared)
        del data  # D07: of a mail of 25 MB no copy more than has to be
        return content.replace("\r\n", "\n").replace("\r", "\n")

    def beginning(self, limit: int) -> str:
        """`text()` of the first `limit` bytes as sent, whatever the size of the part; never raises."""
        if self.end - self.start <= limit:
            return self.text()
        data = transfer.decode(self.raw[self.start : self.start + limit], self.encoding)
        return charset.decode(data, self.parameters.get("charset", "")).replace("\r\n", "\n").replace("\r", "\n")

    def walk(self) -> Iterator[Part]:
        """This part and all below it, in order, without recursion."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            yield part
            waiting.extend(reversed(part.children))


def find_parts(raw: bytes) -> tuple[Part, tuple[str, ...]]:
    """The mail as a part with its parts inside, and its defects, each once. Never raises; linear in the bytes' length."""
    scanner = _Scanner(raw)
    root = scanner.run()
    return root, tuple(dict.fromkeys(scanner.defects))


@dataclass(slots=True)
class _Open:
    """An entity whose end is not known yet."""

    headers: HeaderBlock
    path: str
    type: str
    parameters: dict[str, str]
    disposition: str
    filename: str
    encoding: str
    start: int
    depth: int
    boundary: bytes = b""  # b"--" and the boundary; b"" when this is no multipart
    hit: int = -2  # the next line of this boundary; -2 when not searched yet, -1 when there is none
    children: list[Part] = field(default_factory=list)
    preamble: bool = False  # no part has begun yet


class _Scanner:
    """Finds the structure front to back with a stack of open entities; one entity's state per level, no recursion."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        # Same length, so that offsets hold; only for mail whose lines end in CR alone.
        self.scan = raw.replace(b"\r", b"\n") if only_cr(raw) else raw
        self.defects: list[str] = []
        self.stack: list[_Open] = []
        self.at = 0
        self.count = 0
        self.false_hits = 0

    def run(self) -> Part:
        self._open(0, "", "text/plain", len(self.raw))
        while True:
            level, hit = self._next_hit(self.at)
            if level < 0:
                return self._finish()
            self._delimiter(level, hit)

    def _open(self, at: int, path: str, default: str, limit: int) -> None:
        """Read the header at `at` and push its entity; for an attached mail also the mail inside."""
        while True:
            self.count += 1
            headers = HeaderBlock.parse(self.scan, at, limit)
            if self.scan is not self.raw:
                headers = HeaderBlock.parse(self.raw, at, limit)
            if path == "" and headers.fields and not any(entry.key in _KNOWN_FIELDS for entry in headers):
                self.defects.append("no mail header")
                headers = HeaderBlock((), b"", at, at)
            self.defects.extend(headers.defects)
            entity = self._entity(headers, path, default, len(self.stack))
            self.stack.append(entity)
            self.at = headers.end
            inside = entity.type in ("message/rfc822", "message/global") and entity.encoding in (
                "",
                "7bit",
                "8bit",
                "binary",
            )
            if not inside or entity.depth >= MAX_DEPTH or self.count >= MAX_PARTS:
                return
            at, path, default = headers.end, f"{path}.1" if path else "1", "text/plain"

    def _entity(self, headers: HeaderBlock, path: str, default: str, depth: int) -> _Open:
        content_type, params, defects = _content_type(headers, default)
        self.defects.extend(defects)
        disposition, disposition_params, defects = parameters.read(headers.get("Content-Disposition") or "")
        self.defects.extend(defects)
        name = disposition_params.get("filename") or params.get("name") or ""
        encoding = (headers.get("Content-Transfer-Encoding") or "").split(";")[0].strip().lower()
        entity = _Open(
            headers,
            path,
            content_type,
            params,
            words.decode(disposition),
            name[:MAX_NAME_CHARS],
            encoding,
            headers.end,
            depth,
        )
        if content_type.startswith("multipart/"):
            boundary = params.get("boundary", "").rstrip().encode("utf-8", "replace")
            if depth >= MAX_DEPTH or self.count >= MAX_PARTS:
                self.defects.append("nested too deep" if depth >= MAX_DEPTH else "too many parts")
            elif not boundary:
                self.defects.append("multipart without a boundary")
            else:
                entity.boundary, entity.preamble = b"--" + boundary, True
        return entity

    def _next_hit(self, at: int) -> tuple[int, int]:
        """The level and offset of the next boundary line of any open multipart; (-1, -1) when there is none."""
        best = -1
        limit = len(self.scan)
        for level, entity in enumerate(self.stack):
            if not entity.boundary:
                continue
            if entity.hit == -2 or 0 <= entity.hit < at:
                # Not beyond an outer boundary, which ends this one anyway: so all searches together stay linear.
                entity.hit = self._search(entity, at, limit)
            if 0 <= entity.hit <= (self.stack[best].hit if best >= 0 else limit):
                best = level
                limit = min(limit, entity.hit + len(entity.boundary) + 1)
        return (best, self.stack[best].hit) if best >= 0 else (-1, -1)

    def _search(self, entity: _Open, at: int, limit: int) -> int:
        scan, wanted = self.scan, entity.boundary
        while self.false_hits < MAX_FALSE_HITS:
            hit = scan.find(wanted, at, limit)
            if hit < 0:
                # Only up to `limit` was searched; the outer boundary there will close this entity.
                return -1
            if (hit == 0 or scan[hit - 1] == 10) and _ends_line(scan, hit + len(wanted)):
                return hit
            self.false_hits += 1
            at = hit + 1
        self.defects.append("too many lines like a boundary")
        return -1

    def _delimiter(self, level: int, hit: int) -> None:
        """Act on a boundary line: end what is open inside, then begin the next part, or end the multipart."""
        scan = self.scan
        while len(self.stack) > level + 1:
            inner = self.stack[-1]
            if inner.boundary:
                self.defects.append("multipart without an end")
            self._close(_before(scan, hit, inner.start))
        entity = self.stack[level]
        entity.preamble = False
        after = hit + len(entity.boundary)
        line_end = scan.find(b"\n", after)
        line_end = len(scan) if line_end < 0 else line_end + 1
        if scan.startswith(b"--", after):
            entity.boundary = b""  # RFC 2046 §5.1.1: what follows is the epilogue
            self.at = line_end
            return
        if self.count >= MAX_PARTS:
            self.defects.append("too many parts")
            entity.boundary = b""
            self.at = line_end
            return
        self.at = line_end
        number = len(entity.children) + 1
        path = f"{entity.path}.{number}" if entity.path else str(number)
        # RFC 2046 §5.1.5: the parts of a digest are mails unless they say otherwise.
        default = "message/rfc822" if entity.type == "multipart/digest" else "text/plain"
        _, following = self._next_hit(line_end)
        self._open(line_end, path, default, following if following >= 0 else len(scan))

    def _close(self, end: int) -> Part:
        entity = self.stack.pop()
        part = Part(
            raw=self.raw,
            headers=entity.headers,
            path=entity.path,
            type=entity.type,
            parameters=entity.parameters,
            disposition=entity.disposition,
            filename=entity.filename,
            encoding=entity.encoding,
            start=entity.start,
            end=max(entity.start, end),
            children=tuple(entity.children),
        )
        if self.stack:
            self.stack[-1].children.append(part)
        return part

    def _finish(self) -> Part:
        while True:
            if self.stack[-1].boundary:
                self.defects.append(
                    "multipart without its boundary" if self.stack[-1].preamble else "multipart without an end"
                )
            part = self._close(len(self.raw))
            if not self.stack:
                return part


def _content_type(headers: HeaderBlock, default: str) -> tuple[str, dict[str, str], tuple[str, ...]]:
    value = headers.get("Content-Type")
    if value is None:
        return default, {}, ()
    kind, params, defects = parameters.read(value)
    major, slash, minor = kind.partition("/")
    if not slash or not major or not minor or "/" in minor:
        # RFC 2045 §5.2: what cannot be read is plain text; `text` and `multipart` alone are what they say.
        kind = {"html": "text/html", "multipart": "multipart/mixed"}.get(major, default)
        defects = (*defects, "unreadable Content-Type")
    return charset.storable(kind), params, defects


def _ends_line(scan: bytes, at: int) -> bool:
    """Whether a boundary that ends at `at` is the whole line: blanks and a closing `--` may follow (RFC 2046 §5.1.1)."""
    if scan.startswith(b"--", at):
        return True  # some mailers write text right after the closing one
    while at < len(scan) and scan[at] in b" \t":
        at += 1
    return at >= len(scan) or scan[at] in b"\r\n"


def _before(scan: bytes, hit: int, start: int) -> int:
    """Where the content before a boundary line ends: the newline before it belongs to the boundary (RFC 2046 §5.1.1)."""
    end = hit
    if end > start and scan[end - 1] == 10:
        end -= 1
        if end > start and scan[end - 1] == 13:
            end -= 1
    return end
