"""O11: mail under a TLS policy, from submission to the next hop; what hosts had, kept and shown; Postfix as the other end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mailrelay.model.delivery import DeliveryState
from mailrelay.model.feedback import Fault
from mailrelay.model.lookup import Answer, LookupStatus, MxRecord, Question, RecordType
from mailrelay.model.sts import Mode, Policy
from mailrelay.model.tls import TlsLevel
from mailrelay.outbound.connection import Hop
from mailrelay.outbound.policy.route import Target
from mailrelay.outbound.policy.tls import Demand, by_nobody, by_sts
from mailrelay.outbound.tls_memory import TlsMemory
from mailrelay.store import tls_memory
from tests.flow.test_fault_n10_tls import Witness, dialler
from tests.support import factory
from tests.support.cli import relay as daemon
from tests.support.clock import FakeClock
from tests.support.http import serving
from tests.support.outbound import relay
from tests.support.postfix import Postfix, postfix
from tests.support.remote import remote
from tests.support.tls_peers import shown

HOST = "mx.b.test"
GOOD = shown(HOST)
BAD = shown(HOST)


def zone(question: Question) -> Answer:
    if question == Question(RecordType.MX, "b.test"):
        return Answer(LookupStatus.FOUND, mx=(MxRecord(10, HOST),))
    if question == Question(RecordType.A, HOST):
        return Answer(LookupStatus.FOUND, texts=("127.0.0.1",))
    return Answer(LookupStatus.EMPTY)


class Enforcing:
    """Everybody's policy is enforced."""

    async def for_destination(self, domain: str, targets: list[Target]) -> tuple[Demand, ...]:
        policy = Policy(mode=Mode.ENFORCE, max_age=timedelta(days=7), mx=("*.b.test",))
        return tuple(by_sts(domain, policy, target.host) for target in targets)


async def test_mail_waits_for_a_host_that_does_not_meet_the_policy_and_says_why(tmp_path: Path):
    witness = Witness()
    async with remote(certificate=BAD.context()) as sink:
        parts = {"demands": Enforcing(), "witness": witness}
        settings = {"route": "mx", "port": sink.port, "ca_file": GOOD.trust(tmp_path)}
        async with relay(tmp_path, answers=zone, kit=parts, **settings) as at:
            at.start()
            submitted = await at.submit()
            (one,) = await at.until(submitted, DeliveryState.QUEUED, attempts=1)
            assert "MTA-STS: the policy of b.test demands" in one.last_reply
            assert one.last_reply.startswith("451 4.7.5")
            assert one.fault is not Fault.SENDER  # it is their certificate
            assert sink.messages == []
            # What its author would rather have arrive than encrypted goes, and says so still (RFC 8689 §5).
            raw = at.mail(header=b"TLS-Required: No\r\n")
            await at.until(await at.submit(raw=raw))
    assert b"\r\nTLS-Required: No\r\n" in sink.messages[0].content
    assert sink.messages[0].tls
    assert "certificate-not-trusted" in witness.said


async def test_mail_goes_to_a_host_that_meets_the_policy(tmp_path: Path):
    async with remote(certificate=GOOD.context()) as sink:
        settings = {"route": "mx", "port": sink.port, "ca_file": GOOD.trust(tmp_path)}
        async with relay(tmp_path, answers=zone, kit={"demands": Enforcing()}, **settings) as at:
            at.start()
            (one,) = await at.until(await at.submit())
            (attempt,) = await at.history(one.id)
    assert attempt.tls is not None
    assert attempt.tls.verified


# --- what hosts had ---


async def test_what_a_host_had_is_remembered_over_a_restart_and_looked_at_again(tmp_path: Path):
    clock = FakeClock()
    async with factory.open_store(tmp_path) as store, remote(certificate=BAD.context()) as sink:
        hop = Hop(host=HOST, ip="127.0.0.1", port=sink.port, demand=by_nobody("b.test"))

        async def dial() -> TlsLevel:
            memory = TlsMemory(clock, store)
            made = dialler(tmp_path, trusts=GOOD)
            made._memory, made._clock = memory, clock
            connection = await made.dial(hop, last=True)
            await connection.quit()
            await memory.close()
            seen = await store.read(tls_memory.get, HOST, "127.0.0.1", sink.port)
            assert seen is not None
            return seen.level

        assert await dial() is TlsLevel.UNVERIFIED
        assert sink.sessions == 2  # one to see that it proves nothing
        assert await dial() is TlsLevel.UNVERIFIED
        assert sink.sessions == 3  # the next process knows
        sink.certificate = GOOD.context()
        assert await dial() is TlsLevel.UNVERIFIED
        clock.advance(timedelta(minutes=61))
        assert await dial() is TlsLevel.VERIFIED
        sink.extensions.remove("STARTTLS")
        assert await dial() is TlsLevel.CLEAR
        sink.extensions.append("STARTTLS")
        assert await dial() is TlsLevel.VERIFIED  # what is offered again is used at once


async def test_the_operator_sees_what_hosts_had_and_why(tmp_path: Path):
    async with serving(tmp_path) as web:
        memory = TlsMemory(web.clock, web.store)
        for at, level in enumerate((TlsLevel.VERIFIED, TlsLevel.CLEAR, TlsLevel.CLEAR)):
            reason = "" if level is TlsLevel.VERIFIED else "the server does not offer STARTTLS"
            await memory.note((f"mx{at}.b.test", "192.0.2.1", 25), level, protocol="", reason=reason, fell=False)
        await memory.close()
        page = (await web.local.get("/api/v1/tls/hosts", params={"level": "clear", "limit": "1"})).json
        assert [one["host"] for one in page["items"]] == ["mx1.b.test"]
        assert page["items"][0]["reason"] == "the server does not offer STARTTLS"
        following = {"level": "clear", "limit": "1", "after": page["next"]}
        page = (await web.local.get("/api/v1/tls/hosts", params=following)).json
        assert [one["host"] for one in page["items"]] == ["mx2.b.test"]
        assert (await web.local.get("/api/v1/tls/hosts/mx0.b.test")).json["items"][0]["level"] == "verified"
        assert (await web.local.post("/api/v1/tls/hosts/mx0.b.test/forget")).json["forgotten"] == 1
        assert (await web.local.get("/api/v1/tls/hosts/mx0.b.test")).status == 404
        assert (await web.local.get("/api/v1/tls/hosts", params={"after": "x"})).status == 422
        assert (await web.web.get("/api/v1/tls/hosts")).status in (401, 403)


async def test_the_command_line_shows_it(tmp_path: Path):
    async with daemon(tmp_path) as at:
        assert (await at.cli("tls", "hosts")).out == "No mail went anywhere yet.\n"
        assert "Nothing was remembered" in (await at.cli("tls", "forget", "mx.b.test")).out
        refused = await at.cli("tls", "hosts", "mx.b.test")
        assert "Nothing is remembered of the TLS of mx.b.test" in refused.error


# --- Postfix ---


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Postfix]:
    pem = Path("/tmp", f"{tmp_path.name}-{tmp_path.parent.name}.pem")
    pem.write_bytes(GOOD.pem)
    settings = {
        "smtpd_tls_chain_files": str(pem),
        "smtpd_tls_security_level": "may",
        "smtpd_tls_loglevel": "1",
        "smtpd_tls_received_header": "yes",
        "virtual_mailbox_domains": "b.test",
        "users": "bob",
    }
    try:
        with postfix(settings) as running:
            yield running
    finally:
        pem.unlink()


async def test_postfix_takes_mail_under_an_enforced_policy(tmp_path: Path, peer: Postfix):
    settings = {"route": "mx", "port": peer.port, "ca_file": GOOD.trust(tmp_path)}
    async with relay(tmp_path, answers=zone, kit={"demands": Enforcing()}, **settings) as at:
        at.start()
        (one,) = await at.until(await at.submit("bob@b.test"))
        (attempt,) = await at.history(one.id)
    assert attempt.tls is not None
    assert attempt.tls.verified
    assert "TLS connection established" in peer.log


async def test_a_clock_that_was_ahead_keeps_nobody_in_clear(tmp_path: Path):
    async with remote(certificate=GOOD.context()) as sink:
        made = dialler(tmp_path, trusts=GOOD)
        place = (HOST, "127.0.0.1", sink.port)
        made._memory._clock.advance(timedelta(days=365))
        await made._memory.note(place, TlsLevel.CLEAR, protocol="", reason="it failed", fell=True)
        made._memory._clock.advance(timedelta(days=-365))
        connection = await made.dial(Hop(host=HOST, ip="127.0.0.1", port=sink.port), last=True)
        await connection.quit()
    assert connection.proof.verified
