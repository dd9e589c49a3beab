"""O11: DANE with a validating unbound and signed zones: what a server's TLSA records ask, and what becomes of mail to it (RFC 7672)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mailrelay.config.schema import Dns
from mailrelay.dns.caching import CachingResolver
from mailrelay.model.lookup import Question, RecordType
from mailrelay.model.tls_report import ResultType
from mailrelay.outbound.connection import Connection, Failed, Hop
from mailrelay.outbound.demands import Demands
from mailrelay.outbound.policy.route import Target
from mailrelay.outbound.policy.tls import Demand, DemandMode, by_dane
from tests.flow.test_fault_n10_tls import Witness, dialler
from tests.support.clock import FakeClock
from tests.support.remote import remote
from tests.support.tls_peers import Shown, shown
from tests.support.unbound import Validating, unbound

NAME = "mx.signed.test"
EE = shown(NAME)
ADDRESS = "192.0.2.7"


@asynccontextmanager
async def demands(server: Validating, *, dane: bool = True) -> AsyncIterator[Demands]:
    resolver = CachingResolver(Dns(nameservers=(server.address,), trust_ad=True, timeout=8), FakeClock())
    try:
        yield Demands(resolver, dane=dane, policies=None, port=25)
    finally:
        await resolver.close()


async def asked(server: Validating, domain: str, *hosts: str) -> tuple[Demand, ...]:
    async with demands(server) as made:
        return await made.for_destination(domain, [Target(host=host, ip=ADDRESS) for host in hosts])


ZONE = f"""
signed.test. IN MX 10 mx
signed.test. IN MX 20 bare
signed.test. IN MX 30 alias
signed.test. IN MX 40 away
mx IN A {ADDRESS}
_25._tcp.mx IN TLSA {EE.tlsa(3, 1, 1)}
bare IN A {ADDRESS}
alias IN CNAME target
target IN A {ADDRESS}
_25._tcp.target IN TLSA {EE.tlsa(3, 0, 2)}
away IN CNAME mx.plain.test.
_25._tcp.away IN TLSA {EE.tlsa(3, 0, 1)}
elsewhere IN MX 10 mx.plain.test.
old IN MX 10 pkix
pkix IN A {ADDRESS}
_25._tcp.pkix IN TLSA {EE.tlsa(1, 1, 1)}
"""
PLAIN = f"""
plain.test. IN NS ns.plain.test.
ns.plain.test. IN A 127.0.0.1
plain.test. IN MX 10 mx.signed.test.
mx.plain.test. IN A {ADDRESS}
_25._tcp.mx.plain.test. IN TLSA {EE.tlsa(3, 1, 1)}
"""


async def test_what_signed_zones_ask_of_each_host():
    async with unbound(ZONE, PLAIN) as server:
        hosts = [NAME, "bare.signed.test", "alias.signed.test", "away.signed.test"]
        mx, bare, alias, away = await asked(server, "signed.test", *hosts)
        (elsewhere,) = await asked(server, "elsewhere.signed.test", "mx.plain.test")
        (old,) = await asked(server, "old.signed.test", "pkix.signed.test")
        (plain,) = await asked(server, "plain.test", NAME)
    assert mx.mode is DemandMode.DANE
    assert [str(one) for one in mx.tlsa] == [EE.tlsa(3, 1, 1)]
    assert mx.sni == mx.policy.domain == NAME
    assert bare.mode is DemandMode.NONE
    # An alias whose whole chain is signed counts by the name behind it; one that leads out of it, by the name before.
    assert (alias.mode, alias.sni) == (DemandMode.DANE, "target.signed.test")
    assert (away.mode, away.sni) == (DemandMode.DANE, "away.signed.test")
    assert elsewhere.mode is DemandMode.NONE  # its host's own zone is not signed
    assert (old.mode, old.tlsa) == (DemandMode.DANE, ())
    assert old.binding
    assert plain.mode is DemandMode.NONE  # who names the host could have named another


async def test_records_that_do_not_validate_keep_mail_from_going():
    forged = ((f"_25._tcp.{NAME}.", "TLSA", EE.tlsa(3, 1, 2)),)
    async with unbound(ZONE, PLAIN, forged=forged) as server:
        mx, bare = await asked(server, "signed.test", NAME, "bare.signed.test")
    assert mx.barred is not None
    assert mx.barred.result is ResultType.DNSSEC_INVALID
    assert mx.binding
    assert bare.mode is DemandMode.NONE  # the other host is as good as ever


async def test_mx_records_that_do_not_validate_are_no_answer():
    async with unbound(ZONE, PLAIN, forged=(("signed.test.", "MX", "10 evil.plain.test."),)) as server:
        (mx,) = await asked(server, "signed.test", NAME)
        async with demands(server) as made:
            answer = await made._resolver.resolve(Question(RecordType.MX, "signed.test"))
    assert answer.status.value == "temporary"
    assert mx.barred is not None


async def test_without_a_resolver_to_believe_there_is_no_dane():
    async with unbound(ZONE, PLAIN) as server:
        resolver = CachingResolver(Dns(nameservers=(server.address,), trust_ad=False, timeout=8), FakeClock())
        made = Demands(resolver, dane=True, policies=None, port=25)
        (mx,) = await made.for_destination("signed.test", [Target(host=NAME, ip=ADDRESS)])
        await resolver.close()
    assert mx.mode is DemandMode.NONE


# --- what the records prove ---


async def dial(
    folder: Path, shows: Shown, *records: str, names: tuple[str, ...] = (NAME, "signed.test"), times: int = 1
) -> tuple[list[Connection], Witness, int]:
    """Connections to a server that shows these certificates, under these records; how many it took."""
    witness = Witness()
    demand = by_dane("signed.test", base=NAME, records=records, names=names)
    made = dialler(folder, witness, trusts=shown("trusted.test"))
    async with remote(certificate=shows.context()) as sink:
        connections = []
        try:
            for _ in range(times):
                hop = Hop(host=NAME, ip="127.0.0.1", port=sink.port, demand=demand)
                connections.append(await made.dial(hop, last=True))
                await connections[-1].quit()
        finally:
            assert "MAIL" not in sink.verbs()
    return connections, witness, sink.sessions


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
async def test_dane_ee_looks_at_the_certificate_only(tmp_path: Path, selector: int, matching: int):
    wrong = shown("other.test", expired=True)
    (connection,), witness, sessions = await dial(tmp_path, wrong, wrong.tlsa(3, selector, matching))
    assert connection.proof.verified
    assert connection.proof.detail == f"proved by DANE (3 {selector} {matching})"
    assert witness.said == ["success"]
    assert sessions == 1


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
async def test_dane_ta_verifies_the_chain_up_to_the_authority_that_the_record_names(
    tmp_path: Path, selector: int, matching: int
):
    chain = shown(NAME, depth=2, root=True)
    for at in (1, 2, 3):
        (connection, again), witness, sessions = await dial(
            tmp_path, chain, chain.tlsa(2, selector, matching, at=at), times=2
        )
        assert connection.proof.verified
        assert again.proof.detail == f"proved by DANE (2 {selector} {matching})"
        assert witness.said == ["success"] * 2
        assert sessions == 3  # the first time once more, to look


async def test_dane_ta_takes_the_name_of_the_domain_too(tmp_path: Path):
    chain = shown("signed.test", depth=1)
    (connection,), _, _ = await dial(tmp_path, chain, chain.tlsa(2, 0, 1, at=1))
    assert connection.proof.verified


@pytest.mark.parametrize(
    ("shows", "record", "why"),
    [
        (shown(NAME), shown(NAME).tlsa(3, 1, 1), "no TLSA record matches"),
        (shown("other.test", depth=1), None, "the certificate is not for mx.signed.test or signed.test"),
        (shown(NAME, depth=1, expired=True), None, "certificate has expired"),
    ],
    ids=["another certificate", "another name", "expired"],
)
async def test_what_the_records_do_not_prove_is_not_sent_to(tmp_path: Path, shows: Shown, record: str | None, why: str):
    with pytest.raises(Failed, match=why) as failed:
        await dial(tmp_path, shows, record or shows.tlsa(2, 0, 1, at=1))
    assert failed.value.outcome.reply.is_transient
    assert failed.value.result is not None


async def test_an_authority_shown_without_having_issued_the_certificate_proves_nothing(tmp_path: Path):
    real, forged = shown(NAME, depth=1), shown(NAME, depth=1)
    # Anybody can send the named authority's certificate along with one of their own.
    mixed = Shown(forged.pem + real.chain[1], (*forged.chain, real.chain[1]), forged.authority)
    with pytest.raises(Failed, match=r"unable to get (local )?issuer certificate|self-signed|unable to verify"):
        await dial(tmp_path, mixed, real.tlsa(2, 0, 1, at=1))


async def test_records_that_cannot_be_used_ask_for_encryption_and_prove_nobody(tmp_path: Path):
    wrong = shown("other.test", expired=True)
    (connection,), witness, _ = await dial(tmp_path, wrong, wrong.tlsa(1, 1, 1))
    assert connection.proof.protocol
    assert not connection.proof.verified
    assert witness.said == ["tlsa-invalid"]


async def test_an_authority_that_is_changed_is_looked_for_again(tmp_path: Path):
    old, new = shown(NAME, depth=1), shown(NAME, depth=1)
    demand = by_dane(
        "signed.test", base=NAME, records=[old.tlsa(2, 0, 1, at=1), new.tlsa(2, 0, 1, at=1)], names=(NAME,)
    )
    made = dialler(tmp_path, trusts=shown("trusted.test"))
    async with remote(certificate=old.context()) as sink:
        for shows in (old, new, new):
            sink.certificate = shows.context()
            connection = await made.dial(Hop(host=NAME, ip="127.0.0.1", port=sink.port, demand=demand), last=True)
            assert connection.proof.verified
            await connection.quit()
