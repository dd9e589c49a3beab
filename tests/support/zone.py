"""A DNS server in the test's own process: it serves zone text, and misbehaves by name when told to (N07)."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import Enum
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.zonefile

_SOA = "ns.test. hostmaster.test. 1 3600 600 86400 {minimum}"
_MAX_CHAIN = 12


class Fault(Enum):
    """What the server does to a name, whatever the zone says."""

    SERVFAIL = "servfail"
    REFUSED = "refused"  # a lame server
    NXDOMAIN = "nxdomain"
    DROP = "drop"  # no answer at all
    TRUNCATE = "truncate"  # over UDP; TCP gets the whole
    GARBAGE = "garbage"  # bytes that are no DNS message


class DnsServer:
    """Serves UDP and TCP on `127.0.0.1:port`. `asked` lists (name, type) of each question as it came."""

    def __init__(self, zone_text: str, *, negative_ttl: int = 60) -> None:
        self.port = 0
        self.asked: list[tuple[str, str]] = []
        self.secure: set[str] = set()
        """Names answered with the AD bit; "*" is all of them."""
        self._faults: dict[str, Fault] = {}
        self._negative_ttl = negative_ttl
        self._rrsets: dict[dns.name.Name, dict[dns.rdatatype.RdataType, dns.rrset.RRset]] = defaultdict(dict)
        self.add(zone_text)

    def __repr__(self) -> str:
        return f"<DnsServer {self.address}>"

    @property
    def address(self) -> str:
        """`127.0.0.1:port`, as the configuration takes it."""
        return f"127.0.0.1:{self.port}"

    def add(self, zone_text: str) -> None:
        """More records: absolute names or `$ORIGIN`; TTL 300 unless given. Replaces records of the same name and type."""
        for rrset in dns.zonefile.read_rrsets(
            zone_text, origin=dns.name.root, relativize=False, default_ttl=300, rdclass=None
        ):
            self._rrsets[rrset.name.canonicalize()][rrset.rdtype] = rrset

    def remove(self, name: str) -> None:
        """Forget all records of `name`."""
        self._rrsets.pop(_name(name), None)

    def fault(self, name: str, fault: Fault | None) -> None:
        """Misbehave for `name`, of any type; None ends it."""
        key = name.rstrip(".").lower()
        if fault is None:
            self._faults.pop(key, None)
        else:
            self._faults[key] = fault

    def count(self, name: str, rdtype: str | None = None) -> int:
        """How often `name` (of `rdtype`, or any) was asked."""
        return sum(1 for asked, kind in self.asked if asked == name.lower() and rdtype in (None, kind))

    def reply(self, wire: bytes, *, udp: bool) -> bytes | None:
        """The answer's wire form, or None for none."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.asked.append((name, dns.rdatatype.to_text(question.rdtype)))
        fault = self._faults.get(name)
        if fault is Fault.DROP:
            return None
        if fault is Fault.GARBAGE:
            return wire[:2] + b"\xff" * 7
        response = dns.message.make_response(query, recursion_available=True)
        if fault is Fault.TRUNCATE and udp:
            response.flags |= dns.flags.TC
        elif fault in (Fault.SERVFAIL, Fault.REFUSED, Fault.NXDOMAIN):
            response.set_rcode(dns.rcode.from_text(fault.name))
        else:
            self._answer(response, question.name.canonicalize(), question.rdtype)
        if name in self.secure or "*" in self.secure:
            response.flags |= dns.flags.AD
        return _to_wire(response, query, udp=udp)

    def _answer(self, response: dns.message.Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> None:
        for _ in range(_MAX_CHAIN):
            here = self._rrsets.get(name, {})
            if rdtype in here:
                response.answer.append(here[rdtype])
                return
            if dns.rdatatype.CNAME not in here:
                break
            response.answer.append(here[dns.rdatatype.CNAME])
            name = here[dns.rdatatype.CNAME][0].target.canonicalize()
        if not any(known.is_subdomain(name) for known, rrsets in self._rrsets.items() if rrsets):
            response.set_rcode(dns.rcode.NXDOMAIN)
        soa = _SOA.format(minimum=self._negative_ttl)
        origin = dns.name.Name(name.labels[-2:])
        response.authority.append(dns.rrset.from_text(origin, self._negative_ttl, dns.rdataclass.IN, "SOA", soa))


def _name(text: str) -> dns.name.Name:
    return dns.name.from_text(text).canonicalize()


def _to_wire(response: dns.message.Message, query: dns.message.Message, *, udp: bool) -> bytes:
    limit = max(query.payload, 512) if udp else 65535
    try:
        return response.to_wire(max_size=limit)
    except dns.exception.TooBig:
        response.answer.clear()
        response.authority.clear()
        response.flags |= dns.flags.TC
        return response.to_wire(max_size=limit)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # 3.11's own is no subclass

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if (reply := self._server.reply(data, udp=True)) is not None:
            self._transport.sendto(reply, addr)


async def _open(server: DnsServer) -> tuple[asyncio.DatagramTransport, asyncio.Server, set[asyncio.StreamWriter]]:
    loop = asyncio.get_running_loop()
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                if (reply := server.reply(await reader.readexactly(length), udp=False)) is not None:
                    writer.write(struct.pack("!H", len(reply)) + reply)
                    await writer.drain()
        writers.discard(writer)
        writer.close()

    while True:
        udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(server), local_addr=("127.0.0.1", 0))
        server.port = udp.get_extra_info("sockname")[1]
        try:
            return udp, await asyncio.start_server(serve, "127.0.0.1", server.port), writers
        except OSError:  # somebody has this TCP port: try another pair
            udp.close()


@asynccontextmanager
async def dns_server(zone_text: str = "", *, negative_ttl: int = 60) -> AsyncIterator[DnsServer]:
    """A running server of `zone_text`: `async with dns_server("a.test. 300 IN A 192.0.2.1") as server: server.port`."""
    async with opened(DnsServer(zone_text, negative_ttl=negative_ttl)) as server:
        yield server


@asynccontextmanager
async def opened(server: DnsServer) -> AsyncIterator[DnsServer]:
    """The server, listening."""
    udp, tcp, writers = await _open(server)
    try:
        yield server
    finally:
        udp.close()
        tcp.close()
        for writer in writers:
            writer.close()
        await tcp.wait_closed()


@contextmanager
def dns_thread(zone_text: str = "") -> Iterator[DnsServer]:
    """The same on a loop of its own, for tests that wait for programs. Add records before anybody asks for them."""
    loop = asyncio.new_event_loop()
    ready: Future[DnsServer] = Future()
    ended = asyncio.Event()

    async def serve() -> None:
        async with dns_server(zone_text) as server:
            ready.set_result(server)
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="dns")
    thread.start()
    try:
        yield ready.result(10)
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()
