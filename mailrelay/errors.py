"""Every exception that mailrelay raises on purpose.

    MailrelayError
    ├── Refusal                 the caller's fault; says what to change
    │   ├── Invalid             a value is wrong; `path` names the field
    │   ├── Unknown             there is no such thing
    │   ├── NotAuthenticated    nobody we know; say who you are
    │   ├── NotPermitted        not with these credentials, or not as this sender
    │   ├── Conflict            it is there already, or it changed meanwhile
    │   │   └── Outdated        it is not the version that the caller saw
    │   ├── TooLarge            over a limit, with the limit and the size
    │   ├── TooMany             over a count, with the limit and the count
    │   ├── TooManyTries        tokens that are none, one after the other
    │   ├── QuotaSpent          over what may be sent in a day, with when it begins anew
    │   ├── Suppressed          the address is on the suppression list
    │   └── NoSuchDropbox       a recipient at our own domain that is nobody's dropbox
    ├── Unavailable             ours or passing; try again
    │   ├── StoreBusy
    │   ├── DiskFull
    │   ├── DnsFailed
    │   └── Overloaded
    ├── ConfigError             the configuration file is wrong; every error by line
    ├── Stale                   another worker was first: gather and decide again
    └── Fatal                   the process must stop
        ├── StoreDamaged
        └── StoreTooNew

Each knows its SMTP `reply` and its HTTP `status`; `str(error)` is the one sentence that a person reads. What the world may
do is a value (`model.delivery.Outcome`), not an exception.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar

from mailrelay.model.reply import Reply, reply


class MailrelayError(Exception):
    """Base of all."""

    code: ClassVar[int] = 451
    enhanced: ClassVar[str] = "4.3.0"
    status: ClassVar[int] = 500
    """HTTP status."""
    problem: ClassVar[str] = "internal"
    """Last part of the RFC 9457 `type` URI."""

    @property
    def reply(self) -> Reply:
        """What an SMTP client is told."""
        return reply(self.code, self.enhanced, str(self))


class Refusal(MailrelayError):
    """The caller's fault."""

    code = 550
    enhanced = "5.7.1"
    status = 400
    problem = "refused"


class Invalid(Refusal):
    """A value is wrong. `path` names the field, as the caller wrote it (`to[1]`, `line 7`), or is empty."""

    code = 554
    enhanced = "5.6.0"
    status = 422
    problem = "invalid"

    def __init__(self, path: str, because: str) -> None:
        super().__init__(f"{path}: {because}" if path else because)
        self.path = path
        self.because = because


class Unknown(Refusal):
    """There is no such thing (or it is not yours to see, which looks the same)."""

    enhanced = "5.1.1"
    status = 404
    problem = "unknown"


class NotAuthenticated(Refusal):
    """No credentials, or none that we know."""

    code = 535
    enhanced = "5.7.8"
    status = 401
    problem = "not-authenticated"


class NotPermitted(Refusal):
    """The credentials do not allow it. For a sender that is not theirs the SMTP reply is 553 5.7.1 (A09)."""

    code = 553
    status = 403
    problem = "not-permitted"


class Conflict(Refusal):
    """It exists already, changed meanwhile, or an idempotency key came again with another body (O19)."""

    status = 409
    problem = "conflict"


class Outdated(Conflict):
    """It is not the version that the caller saw (If-Match)."""

    status = 412
    problem = "outdated"


class TooLarge(Refusal):
    """Over a size limit (O4). Sizes are in bytes."""

    code = 552
    enhanced = "5.3.4"
    status = 413
    problem = "too-large"

    def __init__(self, because: str, *, limit: int, size: int) -> None:
        super().__init__(because)
        self.limit = limit
        self.size = size


class TooMany(Refusal):
    """Over a count."""

    code = 452
    enhanced = "4.5.3"
    status = 422
    problem = "too-many"

    def __init__(self, because: str, *, limit: int, count: int) -> None:
        super().__init__(because)
        self.limit = limit
        self.count = count


class TooManyTries(Refusal):
    """So many wrong tokens that whoever sends them has to wait, `retry_after` seconds (W10)."""

    status = 429
    problem = "too-many-tries"

    def __init__(self, because: str, *, retry_after: int) -> None:
        super().__init__(because)
        self.retry_after = retry_after


class QuotaSpent(Refusal):
    """More recipients than are left of the day's quota (O6, O7, A12): nothing of the mail was taken.

    `resets_at` is when the day is over, in the organisation's zone; `retry_after` in how many seconds that is, None for a day that has
    not begun.
    """

    code = 452
    enhanced = "4.7.1"
    status = 429
    problem = "quota-spent"

    def __init__(
        self,
        because: str,
        *,
        kind: str,
        day: date,
        limit: int,
        used: int,
        asked: int,
        resets_at: datetime,
        retry_after: int | None,
    ) -> None:
        super().__init__(because)
        self.kind = kind
        self.day = day
        self.limit = limit
        self.used = used
        self.asked = asked
        self.resets_at = resets_at
        self.retry_after = retry_after


class Suppressed(Refusal):
    """The address must not be sent to (O10); says which, why and since when, and whose it is where it was named by a record."""

    status = 422
    problem = "suppressed"

    def __init__(self, address: str, reason: str, since: datetime, *, whose: str = "", list_: str = "") -> None:
        """`list_` is the mailing list of which it gets no more mail, "" for all mail."""
        who = f"{address}, the address of {whose}," if whose else address
        of = f" for the list {list_}" if list_ else ""
        # O15: nobody else takes back what a person said.
        way = "only its owner can subscribe again" if reason == "unsubscribed" else "lift the suppression to send to it"
        super().__init__(f"{who} is suppressed{of} ({reason.replace('_', ' ')}) since {since:%Y-%m-%d}; {way}")
        self.address = address
        self.reason = reason
        self.since = since
        self.list = list_


class NoSuchDropbox(Refusal):
    """A recipient at a domain of dropboxes that is none, or none any more (I1). The edge says the same in the dialogue."""

    enhanced = "5.1.1"
    status = 422
    problem = "no-such-dropbox"


class Unavailable(MailrelayError):
    """Ours or passing; the same request may succeed later."""

    status = 503
    problem = "unavailable"


class StoreBusy(Unavailable):
    """The store did not take the transaction in time."""


class MemoryShort(Unavailable):
    """No memory to take more (D07)."""

    code = 452
    enhanced = "4.3.1"


class DiskFull(Unavailable):
    """No space to make the mail durable (D05)."""

    code = 452
    enhanced = "4.3.1"
    status = 507
    problem = "disk-full"


class DnsFailed(Unavailable):
    """DNS gave no usable answer."""

    enhanced = "4.4.3"


class Overloaded(Unavailable):
    """Too much at once; load is shed."""

    code = 421
    enhanced = "4.3.2"


class ConfigError(MailrelayError):
    """The configuration file is wrong. `errors` has a line for each fault; the command ends with EX_CONFIG, 78 (R1)."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class Stale(MailrelayError):
    """What a decision stood on changed before it was applied; decide again."""

    status = 409
    problem = "changed"


class Fatal(MailrelayError):
    """The process cannot go on; the service manager starts it anew."""


class StoreDamaged(Fatal):
    """The database says of itself that it is corrupt (D09)."""


class StoreTooNew(Fatal):
    """The database was written by a newer release; this one must not touch it."""
