"""SMTP submission: who a user is, whether the envelope sender is theirs, and their mail through the one door out (O1, A06–A09)."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Protocol
from zoneinfo import ZoneInfo

from mailrelay import log
from mailrelay.clock import Clock
from mailrelay.config import schema
from mailrelay.errors import DiskFull, Invalid, NotPermitted, Refusal
from mailrelay.ids import OrgId, UserId
from mailrelay.inbound import passwords, sasl
from mailrelay.inbound.door import Reception
from mailrelay.inbound.limits import Failures, client_key
from mailrelay.inbound.sasl import Credentials
from mailrelay.memory import Memory
from mailrelay.model.address import Address, ReversePath
from mailrelay.model.envelope import Channel, EnvelopeRecipient, MailParams, Peer
from mailrelay.model.organisation import User
from mailrelay.model.reply import Reply, reply
from mailrelay.model.schedule import Wish
from mailrelay.outbound.job import take_job
from mailrelay.outbound.mailing_list import take_list
from mailrelay.outbound.own_field import take_field
from mailrelay.outbound.policy import schedule, sender
from mailrelay.outbound.submit import Submission, Submitted
from mailrelay.outbound.tracked import take_tracking
from mailrelay.smtp import codes
from mailrelay.smtp.address import BadAddress, parse_address
from mailrelay.smtp.escape import shown
from mailrelay.store import organisation_addresses, organisations, people
from mailrelay.store.base import Store, Tx
from mailrelay.store.together import Together, one_by_one

KEY_FIELD = "X-Mailrelay-Idempotency-Key"
_LONGEST_KEY = 255
_HASHES_AT_ONCE = 2
_SLOWEST = 5.0
_LONGEST_HOLD = 999_999_999  # RFC 4865 §4: nine digits
_UTC = ZoneInfo("UTC")
_LARGE = 65_536
_COPIES = 3
"""How often the bytes of a mail may be in memory on their way into the queue."""

logger = log.get()


class Submits(Protocol):
    """`outbound.submit.Submitter`, or what stands in front of it."""

    async def submit(self, submission: Submission) -> Submitted:
        """See `outbound.submit.Submitter.submit`."""
        ...


class SubmissionDoor:
    """The `door.Door` of the submission listeners: takes mail from users, to anybody."""

    mechanisms = sasl.MECHANISMS

    def __init__(
        self,
        *,
        settings: schema.Submission,
        store: Store,
        clock: Clock,
        submitter: Submits,
        memory: Memory | None = None,
        spool: Path | None = None,
    ) -> None:
        """Large submissions are kept in the folder `spool` until their end has come."""
        self._settings = settings
        self._store = store
        self._clock = clock
        self._submitter = submitter
        self._memory = memory or Memory()
        self._spool = spool
        self._facts = Together(store, one_by_one(_sender_facts))
        self._failures = Failures()
        self._trying: Counter[str] = Counter()
        """How many attempts of a client are under way."""
        self._ended = asyncio.Condition()
        self._hashing = asyncio.Semaphore(_HASHES_AT_ONCE)

    @property
    def max_size(self) -> int:
        """See `Door`."""
        return self._settings.max_size

    @property
    def max_recipients(self) -> int:
        """See `Door`."""
        return self._settings.max_recipients

    @property
    def future_release(self) -> str:
        """See `Door`."""
        ahead = timedelta(days=self._settings.schedule_days)
        # Whole minutes, so that the last date is one that we take when it is said.
        until = (self._clock.now() + ahead).replace(second=0, microsecond=0)
        return f"{min(int(ahead.total_seconds()), _LONGEST_HOLD)} {until:%Y-%m-%dT%H:%M:%SZ}"

    async def log_in(self, ip: str, credentials: Credentials) -> User | Reply:
        """The user, or 535 alike and as late for an unknown user and a wrong password; 454 after too many failures (A08).

        Failures count by address, which is put off at once and without hashing, and by user, whom nobody may lock out: an
        attempt for a user under attack is answered later, right or wrong.
        """
        client, account = f"ip {client_key(ip)}", f"user {credentials.user.lower()}"
        if not await self._turn(client):
            self._refused(ip, credentials, "too many failures from this address")
            return codes.AUTH_UNAVAILABLE
        try:
            attacked = self._count(account) - self._settings.max_failures
            if attacked >= 0:
                await asyncio.sleep(min(_SLOWEST, 0.1 * (1 + attacked)))
            user = await self._authenticate(credentials)
            if user is None:
                for key in (client, account):
                    self._failures.note(key, now=self._clock.monotonic())
                self._refused(ip, credentials, "wrong user or password")
                return codes.AUTH_FAILED
            return user
        finally:
            async with self._ended:
                self._trying[client] -= 1
                if not self._trying[client]:
                    del self._trying[client]
                self._ended.notify_all()

    async def _turn(self, client: str) -> bool:
        """Wait until this client may try, and count it among those who do; False when its failures are used up.

        So many may try at a time that all of them failing would just reach the limit: a hundred guesses at once are as many as
        a hundred in a row, and an office that logs in together behind one address only waits a little.
        """
        async with self._ended:
            while (failed := self._count(client)) + self._trying[client] >= self._settings.max_failures:
                if failed >= self._settings.max_failures:
                    return False
                await self._ended.wait()
            self._trying[client] += 1
            return True

    def _count(self, key: str) -> int:
        return round(self._failures.count(key, now=self._clock.monotonic()))

    async def begin(
        self, peer: Peer, user: User | None, mail_from: ReversePath, params: MailParams
    ) -> Reception | Reply:
        """A transaction, or 553 5.7.1 for an envelope sender that is not the user's (A09)."""
        if user is None:
            return codes.AUTH_REQUIRED
        try:
            if mail_from is not None:
                facts = await self._facts.ask((user.org, user.id, mail_from))
                sender.check(facts, header=(), mail_from=mail_from)
        except NotPermitted as refusal:
            logger.info("transaction.refused", ip=peer.ip, user=user.id, reply=str(refusal.reply))
            return refusal.reply
        wish = _wish(params, self._clock.now())
        if wish is not None:
            try:
                ahead = timedelta(days=self._settings.schedule_days)
                schedule.resolve(wish, zone=_UTC, now=self._clock.now(), ahead=ahead)
            except Invalid as invalid:
                return reply(501, "5.5.4", invalid.because)
        params = replace(params, hold_for=None, hold_until=None)
        return _Sending(self._submitter, self._memory, self._spool, peer, user, mail_from, params, wish)

    async def _authenticate(self, credentials: Credentials) -> User | None:
        """Who has this name and password. It takes as long when nobody has the name."""
        try:
            logins = await self._store.read(people.by_address, parse_address(credentials.user).key)
        except BadAddress:
            logins = ()
        # Acting for somebody else (RFC 4616 §2) is not offered, and looks like a wrong password.
        stored = {login.user.id: login.password for login in logins if credentials.identity in ("", credentials.user)}
        found = None
        for login in logins:
            if await self._matches(credentials.password, stored.get(login.user.id)) and found is None:
                found = login.user
        if not logins:
            await self._matches(credentials.password, None)
        return found

    async def _matches(self, password: str, stored: str | None) -> bool:
        async with self._hashing:
            return await asyncio.to_thread(
                passwords.verify_password, password, stored, rounds=self._settings.password_rounds
            )

    def _refused(self, ip: str, credentials: Credentials, reason: str) -> None:
        logger.warning("authentication.refused", ip=ip, user=shown(credentials.user), reason=reason)


class _Sending:
    """One submission under way: on disk once it is large, and in memory only when there is room for it (D07)."""

    def __init__(
        self,
        submitter: Submits,
        memory: Memory,
        spool: Path | None,
        peer: Peer,
        user: User,
        mail_from: ReversePath,
        params: MailParams,
        wish: Wish | None,
    ) -> None:
        self._wish = wish
        self._submitter = submitter
        self._memory = memory
        self._content = SpooledTemporaryFile[bytes](max_size=_LARGE, dir=None if spool is None else str(spool))
        self._peer = peer
        self._user = user
        self._mail_from = mail_from
        self._params = params
        self._recipients: dict[Address, EnvelopeRecipient] = {}

    async def add(self, recipient: EnvelopeRecipient) -> Reply:
        """See `Reception`. What speaks against a recipient (O10) is said after the content, with the sentence for the author.

        So is that the quota has too little left (A12): only the content says the job and the key of a mail, and all of it is refused.
        """
        self._recipients.setdefault(recipient.address, recipient)
        return codes.RECIPIENT_OK

    def write(self, piece: bytes) -> None:
        """See `Reception`. Raises DiskFull."""
        if self._content.closed:
            return  # discarded
        try:
            self._content.write(piece)
        except OSError as error:
            raise DiskFull("The disk is full; try again later") from error

    def discard(self) -> None:
        """See `Reception`."""
        self._content.close()

    async def finish(self) -> Reply:
        """See `Reception`."""
        size = self._content.tell()
        async with self._memory.room(size * _COPIES) if size > _LARGE else nullcontext():
            self._content.seek(0)
            raw = self._content.read() if size <= _LARGE else await asyncio.to_thread(self._content.read)
            self._content.close()
            return await self._submit(raw)

    async def _submit(self, raw: bytes) -> Reply:
        try:
            raw, key = take_key(raw)
            raw, job = take_job(raw)
            raw, list_ = take_list(raw)
            raw, tracking = take_tracking(raw)
            submitted = await self._submitter.submit(
                Submission(
                    org=self._user.org,
                    user=self._user.id,
                    channel=Channel.SUBMISSION,
                    mail_from=self._mail_from,
                    params=self._params,
                    recipients=tuple(self._recipients.values()),
                    raw=raw,
                    idempotency_key=key,
                    job=job,
                    list=list_,
                    tracking=tracking,
                    schedule=self._wish,
                )
            )
        except Refusal as refusal:
            logger.info("transaction.refused", ip=self._peer.ip, user=self._user.id, reply=str(refusal.reply))
            return refusal.reply
        return codes.queued(submitted.queue_id)


def _wish(params: MailParams, now: datetime) -> Wish | None:
    """When the client wants it sent, None for at once; an interval counts from MAIL."""
    if params.hold_until is not None:
        return Wish(at=params.hold_until, said_at=now)
    return Wish(hold=timedelta(seconds=params.hold_for), said_at=now) if params.hold_for else None


def take_key(raw: bytes) -> tuple[bytes, str | None]:
    """The mail without its idempotency key field, and the key (O19). Raises Invalid for one that is empty, long or doubled."""
    left, key = take_field(raw, KEY_FIELD)
    if key is not None and not (1 <= len(key) <= _LONGEST_KEY and key.isprintable()):
        raise Invalid(KEY_FIELD, f"must hold 1 to {_LONGEST_KEY} printable characters")
    return left, key


def _sender_facts(tx: Tx, asked: tuple[OrgId, UserId, Address]) -> sender.SenderFacts:
    org, user, mail_from = asked
    keys = sender.lookup_keys((mail_from,))
    return sender.SenderFacts(
        user=people.get(tx, org, user),
        domains=organisations.get(tx, org).domains,
        others=people.keys_in_use(tx, org, sorted(keys), apart_from=user),
        shared=tuple(one for one in organisation_addresses.find(tx, keys) if one.org == org),
    )
