"""N10, A04: what is wrong with a server's TLS, and what that means for mail that asks for nothing, for MTA-STS, for DANE, for AUTH."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from mailrelay import metrics
from mailrelay.config.schema import Delivery
from mailrelay.model.delivery import Deferred
from mailrelay.model.sts import Mode, Policy
from mailrelay.model.tls_report import ResultType, TlsResult
from mailrelay.outbound.connection import Connection, Credentials, Failed, Hop, TlsMode
from mailrelay.outbound.dial import Dialler
from mailrelay.outbound.policy.tls import Demand, by_dane, by_nobody, by_sts, relaxed
from tests.support.clock import FakeClock
from tests.support.remote import SILENCE, Remote, remote
from tests.support.tls_peers import Shown, shown

HOST = "mx.b.test"
GOOD = shown(HOST)


class Witness:
    def __init__(self) -> None:
        self.results: list[TlsResult] = []

    def saw(self, result: TlsResult) -> None:
        self.results.append(result)

    @property
    def said(self) -> list[str]:
        return [one.result.value for one in self.results]


def dialler(folder: Path, witness: Witness | None = None, *, trusts: Shown = GOOD, **settings: Any) -> Dialler:
    given = Delivery(**{"connect_timeout": 5, "command_timeout": 5, "data_timeout": 5, "tls_timeout": 0.3, **settings})
    return Dialler(given, helo="us.test", clock=FakeClock(), ca_file=trusts.trust(folder), witness=witness)


def hop(sink: Remote, demand: Demand | None = None, **more: Any) -> Hop:
    return Hop(host=HOST, ip="127.0.0.1", port=sink.port, demand=demand or by_nobody("b.test"), **more)


def policy(mode: Mode = Mode.ENFORCE, *mx: str) -> Policy:
    return Policy(mode=mode, max_age=timedelta(days=7), mx=mx or (HOST,))


def enforce() -> Demand:
    return by_sts("b.test", policy(), HOST)


def dane(*records: str) -> Demand:
    return by_dane("b.test", base=HOST, records=records or (GOOD.tlsa(3, 1, 1),), names=(HOST, "b.test"))


@asynccontextmanager
async def sick(kind: str):
    """A server whose TLS is not as it should be."""
    shows = {"expired": shown(HOST, expired=True), "self-signed": shown(HOST), "wrong name": shown("other.test")}
    context = shows.get(kind, GOOD).context()
    if kind == "old protocol":
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with remote(certificate=context) as sink:
        sink.handshakes_fail = kind == "no TLS"
        if kind == "stalled":
            sink.certificate = None  # it says 220 and then nothing
        if kind == "refused":
            sink.say("STARTTLS", *["454 4.7.0 not now"] * 10)
        if kind == "stripped":
            sink.extensions.remove("STARTTLS")
        yield sink


SICK: Mapping[str, str] = {
    "expired": "unverified",
    "self-signed": "unverified",
    "wrong name": "unverified",
    "old protocol": "clear",
    "stalled": "clear",
    "no TLS": "clear",
    "refused": "clear",
    "stripped": "clear",
}


def level(connection: Connection) -> str:
    return "clear" if not connection.proof.protocol else "verified" if connection.proof.verified else "unverified"


def value(kind: str, outcome: str) -> float:
    found = metrics.REGISTRY.get_sample_value("mailrelay_tls_demands_total", {"kind": kind, "outcome": outcome})
    assert found is not None
    return found


@pytest.mark.parametrize("kind", SICK)
async def test_fault_n10_mail_that_asks_for_nothing_goes_with_what_the_server_can(tmp_path: Path, kind: str):
    witness = Witness()
    async with sick(kind) as sink:
        trusted = GOOD if kind == "wrong name" else shown("x.test")
        connection = await dialler(tmp_path, witness, trusts=trusted).dial(hop(sink), last=True)
        await connection.quit()
    assert level(connection) == SICK[kind]
    assert connection.proof.detail  # it says why
    assert (witness.said == ["success"]) is (SICK[kind] == "unverified")


@pytest.mark.parametrize("kind", SICK)
@pytest.mark.parametrize("demand", [enforce, dane], ids=["sts", "dane"])
async def test_fault_n10_mail_under_a_policy_waits_and_nothing_goes_in_clear(
    tmp_path: Path, kind: str, demand: Callable[[], Demand]
):
    witness = Witness()
    name = "sts" if demand is enforce else "dane"
    before = value(name, "failed")
    async with sick(kind) as sink:
        with pytest.raises(Failed) as failed:
            await dialler(tmp_path, witness).dial(hop(sink, demand()), last=True)
    assert isinstance(failed.value.outcome, Deferred)
    assert "MAIL" not in sink.verbs()
    assert ("MTA-STS" if demand is enforce else "DANE") in str(failed.value) or kind == "refused"
    assert value(name, "failed") == before + 1
    assert len(witness.said) == 1
    assert witness.said != ["success"]


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        ("expired", ResultType.CERTIFICATE_EXPIRED),
        ("self-signed", ResultType.CERTIFICATE_NOT_TRUSTED),
        ("wrong name", ResultType.CERTIFICATE_HOST_MISMATCH),
        ("old protocol", ResultType.VALIDATION_FAILURE),
        ("stalled", ResultType.VALIDATION_FAILURE),
        ("stripped", ResultType.STARTTLS_NOT_SUPPORTED),
        ("refused", ResultType.STARTTLS_NOT_SUPPORTED),
    ],
)
async def test_what_went_wrong_under_a_policy_is_told_to_the_day_s_report(
    tmp_path: Path, kind: str, result: ResultType
):
    witness, authority = Witness(), trustme.CA()
    certificates = {
        "expired": shown(HOST, expired=True, authority=authority),
        "wrong name": shown("other.test", authority=authority),
    }
    async with sick(kind) as sink:
        trusted = certificates.get(kind, GOOD)
        if kind in certificates:
            sink.certificate = trusted.context()
        with pytest.raises(Failed):
            await dialler(tmp_path, witness, trusts=trusted).dial(hop(sink, enforce()), last=True)
    assert witness.results[0].result is result
    assert witness.results[0].policy.strings[1] == "mode: enforce"
    assert witness.results[0].mx_host == HOST


async def test_fault_a04_starttls_taken_out_on_the_way_puts_off_and_is_counted(tmp_path: Path):
    witness = Witness()
    async with sick("stripped") as sink:
        for demand in (enforce(), dane()):
            with pytest.raises(Failed) as failed:
                await dialler(tmp_path, witness).dial(hop(sink, demand), last=True)
            assert "does not offer STARTTLS, which is required" in str(failed.value)
            assert failed.value.outcome.reply.is_transient
    assert sink.verbs() == ["EHLO", "EHLO"]
    assert witness.said == ["starttls-not-supported"] * 2


async def test_a_host_that_proves_itself_gets_the_mail_under_either_policy(tmp_path: Path):
    witness = Witness()
    async with remote(certificate=GOOD.context()) as sink:
        for demand in (enforce(), dane()):
            connection = await dialler(tmp_path, witness).dial(hop(sink, demand), last=True)
            await connection.quit()
            assert connection.proof.verified
    assert witness.said == ["success", "success"]
    assert witness.results[0].source_ip == "127.0.0.1"


@pytest.mark.parametrize("kind", SICK)
async def test_a_policy_under_test_stops_nothing_and_tells_of_each_session(tmp_path: Path, kind: str):
    witness = Witness()
    demand = by_sts("b.test", policy(Mode.TESTING), HOST)
    before = value("sts_testing", "failed")
    async with sick(kind) as sink:
        made = dialler(tmp_path, witness)
        for _ in range(2):
            connection = await made.dial(hop(sink, demand), last=True)
            await connection.quit()
            assert level(connection) == SICK[kind]
    assert len(witness.said) == 2
    assert "success" not in witness.said
    assert value("sts_testing", "failed") == before + 2


async def test_a_host_that_is_not_in_the_policy_is_not_connected_to(tmp_path: Path):
    witness = Witness()
    async with remote(certificate=GOOD.context()) as sink:
        demand = by_sts("b.test", policy(Mode.ENFORCE, "other.test"), HOST)
        with pytest.raises(Failed) as failed:
            await dialler(tmp_path, witness).dial(hop(sink, demand), last=True)
        assert "not among the MX hosts of the MTA-STS policy of b.test" in str(failed.value)
        assert sink.sessions == 0
        testing = by_sts("b.test", policy(Mode.TESTING, "other.test"), HOST)
        await (await dialler(tmp_path, witness).dial(hop(sink, testing), last=True)).quit()
    assert witness.said == ["validation-failure"] * 2


@pytest.mark.parametrize("kind", SICK)
async def test_a_mail_that_puts_delivery_first_is_bound_by_no_policy(tmp_path: Path, kind: str):
    async with sick(kind) as sink:
        for demand in (enforce(), dane()):
            connection = await dialler(tmp_path).dial(hop(sink, relaxed(demand)), last=True)
            await connection.quit()
            assert level(connection) == SICK[kind]


@pytest.mark.parametrize("kind", SICK)
@pytest.mark.parametrize("tls", [TlsMode.OPPORTUNISTIC, TlsMode.REQUIRED])
async def test_fault_n10_credentials_are_never_said_over_tls_that_is_not_verified(
    tmp_path: Path, kind: str, tls: TlsMode
):
    async with sick(kind) as sink:
        sink.extensions.append("AUTH PLAIN LOGIN")
        with pytest.raises(Failed):
            await dialler(tmp_path).dial(hop(sink, tls=tls, credentials=Credentials("anna", "secret")), last=True)
    assert "AUTH" not in sink.verbs()


async def test_a_server_that_refuses_us_behind_the_handshake_gets_the_mail_in_clear(tmp_path: Path):
    async with remote(certificate=GOOD.context()) as sink:
        sink.certificate.verify_mode = ssl.CERT_REQUIRED  # it asks for a certificate that we do not have
        connection = await dialler(tmp_path).dial(hop(sink), last=True)
        await connection.quit()
    assert level(connection) == "clear"


async def test_a_banner_that_never_comes_is_no_matter_of_tls(tmp_path: Path):
    witness = Witness()
    async with remote(certificate=GOOD.context()) as sink:
        sink.say("CONNECT", SILENCE)
        with pytest.raises(Failed):
            await dialler(tmp_path, witness, connect_timeout=0.2).dial(hop(sink, enforce()), last=False)
    assert witness.said == []
