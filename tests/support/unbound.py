"""A validating unbound on loopback before signed zones of the test's own: what a machine that does DANE asks (RFC 7672)."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.DNSKEY
import dns.rrset
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.peers import need
from tests.support.postfix import free_port
from tests.support.zone import DnsServer, dns_server, opened

_HEAD = """
$TTL 300
@ 300 IN SOA ns hostmaster 1 3600 600 86400 60
@ 300 IN NS ns
ns 300 IN A 127.0.0.1
"""
_CONFIG = """
server:
  interface: 127.0.0.1@{port}
  port: {port}
  do-daemonize: no
  chroot: ""
  username: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  logfile: "{folder}/log"
  verbosity: 1
  num-threads: 1
  do-ip6: no
  do-not-query-localhost: no
  access-control: 127.0.0.0/8 allow
  module-config: "validator iterator"
  qname-minimisation: no
  local-zone: "test." nodefault
  trust-anchor: "{anchor}"
stub-zone:
  name: "signed.test"
  stub-addr: 127.0.0.1@{signed}
stub-zone:
  name: "plain.test"
  stub-addr: 127.0.0.1@{plain}
"""


class SignedServer(DnsServer):
    """Serves one signed zone, with the proofs of what is not there."""

    def __init__(self, zone_text: str) -> None:
        super().__init__("")
        self.zone = dns.zone.from_text(_HEAD + zone_text, origin="signed.test.", relativize=False)
        private = ec.generate_private_key(ec.SECP256R1())
        self.key = dns.dnssec.make_dnskey(private.public_key(), dns.dnssec.ECDSAP256SHA256, flags=257)
        dns.dnssec.sign_zone(self.zone, keys=[(private, self.key)], lifetime=86_400)

    @property
    def anchor(self) -> str:
        """What a validator is told to trust."""
        return f"signed.test. DNSKEY {self.key.to_text()}"

    def forge(self, name: str, kind: str, text: str) -> None:
        """Put other data in the place of a signed record and leave the signature: bogus."""
        found = self.zone.find_rdataset(name, kind)
        forged = dns.rrset.from_text(name, found.ttl, "IN", kind, text)
        found.clear()
        found.update(forged)

    def reply(self, wire: bytes, *, udp: bool) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.canonicalize()
        self.asked.append((name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)))
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        self._say(response, name, question.rdtype)
        out: bytes = response.to_wire(max_size=65_535)
        return out

    def _say(self, response: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> None:
        if self._put(response.answer, name, kind):
            return
        if self._put(response.answer, name, dns.rdatatype.CNAME):
            target = response.answer[0][0].target
            if target.is_subdomain(self.zone.origin):
                self._put(response.answer, target.canonicalize(), kind)
            return
        self._put(response.authority, self.zone.origin, dns.rdatatype.SOA)
        if self.zone.get_node(name) is not None:
            self._put(response.authority, name, dns.rdatatype.NSEC)
            return
        response.set_rcode(dns.rcode.NXDOMAIN)
        before = max(one for one in self.zone.nodes if one < name)
        self._put(response.authority, before, dns.rdatatype.NSEC)
        self._put(response.authority, self.zone.origin, dns.rdatatype.NSEC)  # no wildcard either

    def _put(self, section: list[dns.rrset.RRset], name: dns.name.Name, kind: dns.rdatatype.RdataType) -> bool:
        found = self.zone.get_rrset(name, kind)
        if found is None:
            return False
        if found in section:
            return True
        section.append(found)
        if (signature := self.zone.get_rrset(name, dns.rdatatype.RRSIG, kind)) is not None:
            section.append(signature)
        return True


@dataclass
class Validating:
    """A running unbound: `address` for `dns.nameservers`."""

    address: str
    signed: SignedServer
    plain: DnsServer


@asynccontextmanager
async def unbound(
    signed: str, plain: str = "", *, forged: tuple[tuple[str, str, str], ...] = ()
) -> AsyncIterator[Validating]:
    """An unbound that trusts the key of `signed.test` and knows nothing of `plain.test`. Zone text is relative to `signed.test`."""
    program = need("unbound")
    server = SignedServer(signed)
    for one in forged:
        server.forge(*one)
    async with opened(server), dns_server(plain) as unsigned:
        with tempfile.TemporaryDirectory(prefix="mailrelay-unbound-") as folder:
            port = free_port()
            path = _configured(Path(folder), port=port, anchor=server.anchor, signed=server.port, plain=unsigned.port)
            process = await asyncio.create_subprocess_exec(
                program, "-d", "-c", path, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
            )
            try:
                await _answers(port, process, Path(folder, "log"))
                yield Validating(f"127.0.0.1:{port}", server, unsigned)
            finally:
                if process.returncode is None:
                    process.terminate()
                await process.wait()


def _configured(folder: Path, **values: object) -> Path:
    path = folder / "unbound.conf"
    path.write_text(_CONFIG.format(folder=folder, **values))
    return path


def _said(log: Path) -> str:
    return log.read_text() if log.exists() else ""


async def _answers(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    for _ in range(200):
        if process.returncode is not None:
            raise RuntimeError(f"unbound ended at once: {_said(log)}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            await writer.wait_closed()
            return
    raise RuntimeError("unbound does not listen")
