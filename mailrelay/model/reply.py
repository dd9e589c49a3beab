"""What an SMTP side says: code, enhanced status, text. One type for our replies, theirs and the DSN's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EnhancedStatus:
    """`class.subject.detail` (RFC 3463)."""

    klass: int
    subject: int
    detail: int

    def __str__(self) -> str:
        """`5.1.1`."""
        return f"{self.klass}.{self.subject}.{self.detail}"


@dataclass(frozen=True, slots=True)
class Reply:
    r"""An SMTP reply. `lines` are its texts without code and status; bytes that are not UTF-8 came as `\xNN`."""

    code: int
    status: EnhancedStatus | None
    lines: tuple[str, ...]

    @property
    def is_positive(self) -> bool:
        """2xx or 3xx."""
        return 200 <= self.code < 400

    @property
    def is_transient(self) -> bool:
        """4xx: the same command may succeed later."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5xx: it will not."""
        return 500 <= self.code < 600

    @property
    def text(self) -> str:
        """All lines in one."""
        return " ".join(self.lines)

    def __str__(self) -> str:
        """`550 5.1.1 No such user`: how logs and the CLI show it."""
        status = f" {self.status}" if self.status else ""
        return f"{self.code}{status} {self.text}".rstrip()


def reply(code: int, status: str, *lines: str) -> Reply:
    """A reply of ours: `reply(550, "5.1.1", "No such dropbox")`. Raises ValueError when status and code disagree."""
    klass, subject, detail = (int(part) for part in status.split("."))
    # RFC 2034 §4: the class of the enhanced status must equal the first digit of the code.
    if klass != code // 100 and not (code // 100 == 3 and klass == 2):
        raise ValueError(f"status {status} does not agree with code {code}")
    return Reply(code, EnhancedStatus(klass, subject, detail), lines)
