"""The real resolver: dnspython's asynchronous stub behind a cache of ours; the only file that imports dnspython (N07).

Answers are kept as long as their TTL says, refusals as long as RFC 2308 says, failures not at all. The same question asked
by many at once goes out once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.resolver
import dns.rrset

from mailrelay import log, metrics
from mailrelay.clock import Clock
from mailrelay.config.schema import Dns
from mailrelay.model.lookup import Answer, LookupStatus, MxRecord, Question, RecordType

_MAX_TTL = 86_400.0
_MAX_NEGATIVE_TTL = 900.0
_KEPT_BYTES = 16_384
"""A larger answer is given but not kept, so that strangers' zones cannot fill our memory (N07: 64 kB answers)."""
_UDP_PAYLOAD = 1232  # the size that passes without fragments (DNS flag day 2020)
_PORT = 53

_log = log.get()


class CachingResolver:
    """A `Resolver` for the life of the process. It never blocks the loop; `close` ends what is under way."""

    def __init__(self, settings: Dns, clock: Clock) -> None:
        """With no name servers in `settings`, those of the system (read from /etc/resolv.conf once, here)."""
        self._settings = settings
        self._clock = clock
        self._cache: OrderedDict[Question, tuple[float, Answer]] = OrderedDict()
        self._under_way: dict[Question, asyncio.Task[Answer]] = {}
        self._stub = _stub(settings)

    async def resolve(self, question: Question) -> Answer:
        """The answer, from the cache or the name servers; `TEMPORARY` after `settings.timeout` seconds at the latest."""
        question = Question(question.type, question.name.rstrip(".").lower())
        kept = self._cache.get(question)
        if kept is not None:
            if self._clock.monotonic() < kept[0]:
                self._cache.move_to_end(question)
                metrics.dns_questions.labels(status="cached").inc()
                return kept[1]
            del self._cache[question]
        task = self._under_way.get(question)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(question))
            self._under_way[question] = task
            task.add_done_callback(lambda _: self._under_way.pop(question, None))
        # One asker that gives up must not take the answer from the others.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel what is under way; those who wait for it are cancelled too."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def _ask(self, question: Question) -> Answer:
        answer, ttl = await self._query(question)
        metrics.dns_questions.labels(status=answer.status.value).inc()
        if answer.status is LookupStatus.TEMPORARY:
            _log.warning("dns.failed", name=question.name, type=question.type.value, reason=answer.detail)
        elif ttl > 0 and self._settings.cache_size and _size(answer) <= _KEPT_BYTES:
            self._cache[question] = (self._clock.monotonic() + ttl, answer)
            if len(self._cache) > self._settings.cache_size:
                self._cache.popitem(last=False)
        return answer

    async def _query(self, question: Question) -> tuple[Answer, float]:
        name = _name(question.name)
        if name is None:
            return Answer(LookupStatus.NO_NAME, detail="not a name that DNS can hold"), 0.0
        try:
            found = await self._stub.resolve(name, question.type.value, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN as error:
            response: dns.message.QueryMessage = error.response(name)  # type: ignore[no-untyped-call]
            return Answer(LookupStatus.NO_NAME, secure=self._is_secure(response)), _negative_ttl(response)
        except (dns.exception.DNSException, OSError, ValueError) as error:
            # SERVFAIL, REFUSED, a lame server or nothing usable in time: N07 asks that all of them defer.
            return Answer(LookupStatus.TEMPORARY, detail=_sentence(error)), 0.0
        canonical = _text(found.canonical_name)
        secure = self._is_secure(found.response)
        if found.rrset is None:
            empty = Answer(LookupStatus.EMPTY, canonical=canonical, secure=secure)
            return empty, _negative_ttl(found.response)
        return _answer(question.type, found.rrset, canonical, secure=secure), min(_ttl(found.response), _MAX_TTL)

    def _is_secure(self, response: dns.message.Message) -> bool:
        return self._settings.trust_ad and bool(response.flags & dns.flags.AD)


def _stub(settings: Dns) -> dns.asyncresolver.Resolver:
    try:
        stub = dns.asyncresolver.Resolver(configure=not settings.nameservers)
    except dns.resolver.NoResolverConfiguration:
        stub = dns.asyncresolver.Resolver(configure=False)
        stub.nameservers = ["127.0.0.1"]  # as resolv.conf(5) says for a machine without that file
    if settings.nameservers:
        stub.nameservers = [_nameserver(text) for text in settings.nameservers]
    stub.lifetime = settings.timeout
    stub.timeout = settings.timeout / 2  # one lost datagram leaves time for another try
    stub.cache = None
    # RFC 6840 §5.7: AD in the question asks for AD in the answer without asking for the signatures themselves.
    stub.flags = dns.flags.RD | (dns.flags.AD if settings.trust_ad else 0)
    stub.use_edns(0, payload=_UDP_PAYLOAD)
    return stub


def _nameserver(text: str) -> dns.nameserver.Do53Nameserver:
    """`192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353`."""
    host, port = text, str(_PORT)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        host, port = text.split(":")
    return dns.nameserver.Do53Nameserver(host, int(port))


def _name(text: str) -> dns.name.Name | None:
    """The absolute name, its labels taken as they are (macros of SPF make odd ones); None when DNS cannot hold it."""
    try:
        return dns.name.Name([*(label.encode() for label in text.split(".")), b""])
    except (dns.exception.DNSException, UnicodeEncodeError):
        return None


def _answer(kind: RecordType, rrset: dns.rrset.RRset, canonical: str, *, secure: bool) -> Answer:
    texts: tuple[str, ...] = ()
    strings: tuple[bytes, ...] = ()
    mx: tuple[MxRecord, ...] = ()
    match kind:
        case RecordType.MX:
            mx = tuple(MxRecord(record.preference, _text(record.exchange)) for record in rrset)
        case RecordType.TXT:
            strings = tuple(b"".join(record.strings) for record in rrset)
        case RecordType.CNAME | RecordType.PTR:
            texts = tuple(_text(record.target) for record in rrset)
        case RecordType.A | RecordType.AAAA:
            texts = tuple(record.address for record in rrset)
        case _:
            texts = tuple(record.to_text() for record in rrset)
    return Answer(LookupStatus.FOUND, texts=texts, strings=strings, mx=mx, canonical=canonical, secure=secure)


def _text(name: dns.name.Name) -> str:
    return "" if name == dns.name.root else name.to_text(omit_final_dot=True).lower()


def _ttl(response: dns.message.QueryMessage) -> float:
    return float(response.resolve_chaining().minimum_ttl)


def _negative_ttl(response: dns.message.QueryMessage) -> float:
    # RFC 2308 §5: the lesser of the SOA's TTL and its MINIMUM field, which dnspython has taken already.
    return min(_ttl(response), _MAX_NEGATIVE_TTL)


def _size(answer: Answer) -> int:
    return sum(map(len, answer.texts)) + sum(map(len, answer.strings)) + sum(len(record.host) for record in answer.mx)


def _sentence(error: Exception) -> str:
    match error:
        case dns.resolver.NoNameservers():
            return "no name server gave a usable answer (SERVFAIL, REFUSED or damaged)"
        case dns.exception.Timeout():
            return "no answer in time"
        case _:
            return f"the answer could not be used ({type(error).__name__})"
