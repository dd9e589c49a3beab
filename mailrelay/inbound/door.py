"""What an SMTP session asks of whoever takes its mail: the edge's `accept` and the users' `submission` answer to the same calls."""

from __future__ import annotations

from typing import Protocol

from mailrelay.inbound.sasl import Credentials
from mailrelay.model.address import ReversePath
from mailrelay.model.envelope import EnvelopeRecipient, MailParams, Peer
from mailrelay.model.organisation import User
from mailrelay.model.reply import Reply


class Reception(Protocol):
    """One mail transaction, from MAIL to the answer to the final dot. Ended by `finish` or `discard`."""

    async def add(self, recipient: EnvelopeRecipient) -> Reply:
        """Take a recipient (2xx) or refuse it."""
        ...

    def write(self, piece: bytes) -> None:
        """Take more content. May raise DiskFull. It is not called in two threads at a time, but in others than the loop's."""
        ...

    async def finish(self) -> Reply:
        """The content is whole and well-formed: make it durable; 250 only then. Cancelled, it keeps nothing if it still can."""
        ...

    def discard(self) -> None:
        """Leave nothing behind; may be called at any time, and twice."""
        ...


class Door(Protocol):
    """What is behind a listener."""

    @property
    def max_size(self) -> int:
        """Largest content in bytes, announced in EHLO."""
        ...

    @property
    def max_recipients(self) -> int:
        """Recipients in a transaction; the rest get 452."""
        ...

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """SASL mechanisms; not empty means that mail is taken only over TLS and from users."""
        ...

    @property
    def future_release(self) -> str:
        """The parameters of FUTURERELEASE in EHLO (RFC 4865): the longest hold in seconds, and the last date; "": not offered."""
        ...

    async def log_in(self, ip: str, credentials: Credentials) -> User | Reply:
        """Who it is, or the refusal, which is the same for all reasons but load."""
        ...

    async def begin(
        self, peer: Peer, user: User | None, mail_from: ReversePath, params: MailParams
    ) -> Reception | Reply:
        """A transaction for this sender, or the refusal; `user` is who logged in, where anybody must."""
        ...
