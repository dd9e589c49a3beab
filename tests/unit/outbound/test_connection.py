"""One connection against a scripted server: every way that a dialogue can go."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from mailrelay.model.address import Address
from mailrelay.model.delivery import Accepted, Deferred, Interrupted, Refused, Stage
from mailrelay.model.envelope import EnvelopeRecipient, MailParams, Notify, Ret
from mailrelay.outbound.connection import Connection, Credentials, Failed, Guard, Hop, TlsMode
from mailrelay.outbound.transaction import Letter, Patience
from tests.support.certs import certificate
from tests.support.remote import CLOSE, SILENCE, Remote, remote

CONTENT = b"From: a@a.test\r\nSubject: hi\r\n\r\n.dot\r\nbye\r\n"
PATIENCE = Patience(connect=2, banner=2, command=2, data=2)
SHORT = Patience(connect=0.2, banner=0.2, command=0.2, data=0.2)


def letter(*recipients: str, content: bytes = CONTENT, **more: object) -> Letter:
    people = tuple(EnvelopeRecipient(address=Address(*one.split("@"))) for one in recipients or ("bob@b.test",))
    fields: dict[str, object] = {"mail_from": Address("anna", "a.test"), "recipients": people, "params": MailParams()}
    return Letter(content=content, **{**fields, **more})  # type: ignore[arg-type]


def hop(sink: Remote, **more: object) -> Hop:
    return Hop(**{"host": "localhost", "ip": "127.0.0.1", "port": sink.port, "tls": TlsMode.NEVER, **more})  # type: ignore[arg-type]


async def connect(
    sink: Remote, *, patience: Patience = PATIENCE, context: ssl.SSLContext | None = None, **more: object
) -> Connection:
    guard = Guard(
        context=context, verifying=context is not None, required=more.get("tls") is TlsMode.REQUIRED, timeout=2
    )
    return await Connection.open(hop(sink, **more), helo="us.test", patience=patience, guard=guard)


async def test_a_message_goes_in_one_segment_of_commands_and_is_taken_byte_for_byte():
    async with remote() as sink:
        connection = await connect(sink)
        outcomes = await connection.send(letter())
        await connection.quit()
    assert [type(one) for one in outcomes] == [Accepted]
    assert str(outcomes[0].reply) == "250 2.0.0 taken"
    assert sink.messages[0].content == CONTENT
    assert sink.messages[0].mail == f"<anna@a.test> SIZE={len(CONTENT)}"
    pipelined = [one for one in sink.segments if one.startswith(b"MAIL")]
    assert pipelined[0].endswith(b"DATA\r\n")
    assert sink.verbs() == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]


async def test_without_pipelining_each_command_waits_for_its_answer():
    async with remote() as sink:
        sink.extensions = []
        connection = await connect(sink)
        outcomes = await connection.send(letter("bob@b.test", "eve@b.test"))
        await connection.quit()
    assert all(isinstance(one, Accepted) for one in outcomes)
    assert all(one.count(b"\r\n") == 1 for one in sink.segments)
    assert sink.messages[0].mail == "<anna@a.test>"


async def test_a_server_that_knows_no_ehlo_is_greeted_with_helo():
    async with remote() as sink:
        sink.say("EHLO", "502 5.5.1 what?")
        connection = await connect(sink)
        assert [type(one) for one in await connection.send(letter())] == [Accepted]
        await connection.quit()
    assert sink.verbs()[:2] == ["EHLO", "HELO"]


@pytest.mark.parametrize("pipelining", [True, False])
async def test_fault_n04_each_recipient_has_its_own_outcome(pipelining: bool):
    async with remote() as sink:
        if not pipelining:
            sink.extensions = []
        sink.say("RCPT", "250 2.1.5 ok", "450 4.2.1 greylisted", "550 5.1.1 no such user", "552 too many recipients")
        connection = await connect(sink)
        outcomes = await connection.send(letter("a@b.test", "b@b.test", "c@b.test", "d@b.test"))
        again = await connection.send(letter())
        await connection.quit()
    assert [type(one) for one in outcomes] == [Accepted, Deferred, Refused, Deferred]
    assert outcomes[1] == Deferred(reply=outcomes[1].reply, stage=Stage.RCPT)
    assert str(outcomes[1].reply) == "450 4.2.1 greylisted"
    assert sink.messages[0].rcpt == ["<a@b.test>"]
    assert isinstance(again[0], Accepted)


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    ("verb", "answer", "kind", "stage"),
    [
        ("MAIL", "451 4.7.1 later", Deferred, Stage.MAIL),
        ("MAIL", "550 5.7.1 never", Refused, Stage.MAIL),
        ("RCPT", "450 4.2.0 later", Deferred, Stage.RCPT),
        ("RCPT", "550 5.1.1 never", Refused, Stage.RCPT),
        ("DATA", "451 4.3.0 later", Deferred, Stage.DATA),
        ("DATA", "554 5.7.1 never", Refused, Stage.DATA),
        ("DATA", "250 2.0.0 what", Interrupted, Stage.DATA),
        ("DOT", "451 4.3.0 later", Deferred, Stage.DOT),
        ("DOT", "554 5.6.0 never", Refused, Stage.DOT),
        ("DOT", "354 what", Interrupted, Stage.DOT),
        ("MAIL", CLOSE, Interrupted, Stage.MAIL),
        ("RCPT", CLOSE, Interrupted, Stage.RCPT),
        ("DATA", CLOSE, Interrupted, Stage.DATA),
        ("DOT", CLOSE, Interrupted, Stage.DOT),
        ("DOT", SILENCE, Interrupted, Stage.DOT),
        ("RCPT", SILENCE, Interrupted, Stage.RCPT),
    ],
)
async def test_fault_n01_the_outcome_is_what_the_answer_says(pipelining, verb, answer, kind, stage):
    async with remote() as sink:
        if not pipelining:
            sink.extensions = []
        sink.say(verb, answer)
        connection = await connect(sink, patience=SHORT)
        (outcome,) = await connection.send(letter())
        connection.abort()
    assert isinstance(outcome, kind)
    assert outcome.stage is stage


async def test_a_refused_message_leaves_the_connection_fit_for_the_next():
    async with remote() as sink:
        sink.say("RCPT", "550 5.1.1 no")
        connection = await connect(sink)
        assert isinstance((await connection.send(letter()))[0], Refused)
        assert connection.usable
        assert isinstance((await connection.send(letter()))[0], Accepted)
        assert isinstance((await connection.send(letter()))[0], Accepted)
        await connection.quit()
    assert sink.verbs().count("RSET") == 1
    assert sink.sessions == 1


async def test_fault_n01_a_failed_quit_after_250_is_delivered():
    for answer in (CLOSE, "554 5.0.0 never"):
        async with remote() as sink:
            sink.say("QUIT", answer)
            connection = await connect(sink)
            outcomes = await connection.send(letter())
            await connection.quit()
        assert isinstance(outcomes[0], Accepted)


async def test_fault_n03_an_answer_before_the_end_of_the_message_counts():
    async with remote() as sink:
        sink.say("DATA", b"354 go\r\n552 5.3.4 enough\r\n")
        connection = await connect(sink)
        (outcome,) = await connection.send(letter(content=CONTENT + b"x" * 500 + b"\r\n" + b"line\r\n" * 200_000))
        connection.abort()
    assert isinstance(outcome, Refused)
    assert not connection.usable


@pytest.mark.parametrize(
    "banner",
    [
        "421 4.3.2 busy",
        "554 5.7.1 go away",
        b"2xx hello\r\n",
        b"220",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        CLOSE,
        SILENCE,
    ],
)
async def test_fault_n05_a_bad_banner_is_never_final(banner):
    async with remote() as sink:
        sink.say("CONNECT", banner)
        with pytest.raises(Failed) as failed:
            await connect(sink, patience=SHORT)
    assert isinstance(failed.value.outcome, Deferred | Interrupted)


@pytest.mark.parametrize(
    "reply",
    [b"250-more\r\n" * 40_000, b"250 " + b"x" * 1_000_000 + b"\r\n", b"2xx ok\r\n", b"250-a\r\n550 b\r\n"],
    ids=["endless", "long line", "junk code", "two codes"],
)
async def test_fault_n05_replies_have_an_end(reply: bytes):
    async with remote() as sink:
        sink.say("DOT", reply)
        connection = await connect(sink)
        (outcome,) = await connection.send(letter())
        connection.abort()
    if isinstance(outcome, Accepted):
        assert len(outcome.reply.text) < 70_000
    else:
        assert isinstance(outcome, Interrupted)
        assert outcome.stage is Stage.DOT


async def test_fault_n05_a_reply_cut_into_segments_and_full_of_markup_is_harmless():
    async with remote() as sink:
        sink.extensions = []
        sink.say("RCPT", b"550-5.1.1 \x1b[31m<script>alert(1)</script>\r\n550 5.1.1 \xff\x00bye\r\n")
        connection = await connect(sink)
        (outcome,) = await connection.send(letter())
        await connection.quit()
    assert isinstance(outcome, Refused)
    assert "\x1b" not in str(outcome.reply)
    assert "\\x1b[31m<script>" in str(outcome.reply)


async def test_dsn_parameters_are_passed_on_where_they_are_offered():
    asked = EnvelopeRecipient(
        address=Address("bob", "b.test"),
        notify=frozenset({Notify.FAILURE, Notify.SUCCESS}),
        orcpt="rfc822;bob+x@b.test",
    )
    params = MailParams(ret=Ret.HEADERS, envid="QQ=1")
    for offered in (True, False):
        async with remote() as sink:
            if not offered:
                sink.extensions.remove("DSN")
            connection = await connect(sink)
            await connection.send(letter(recipients=(asked,), params=params, mail_from=None))
            await connection.quit()
        mail, rcpt = sink.messages[0].mail, sink.messages[0].rcpt[0]
        assert mail.startswith("<>")
        assert ("RET=HDRS ENVID=QQ+3D1" in mail) is offered
        assert ("NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;bob+2Bx@b.test" in rcpt) is offered


async def test_fault_n15_what_the_server_lacks_is_said_before_anything_is_sent():
    async with remote() as sink:
        sink.extensions = ["PIPELINING", "SIZE 40"]
        connection = await connect(sink)
        (large,) = await connection.send(letter(content=CONTENT + b"more\r\n"))
        sink.extensions = ["PIPELINING"]
        connection.abort()
        connection = await connect(sink)
        (eight_bit,) = await connection.send(letter(content="ü\r\n".encode()))
        (utf8,) = await connection.send(letter("jörg@b.test", content=b"x\r\n", utf8=True))
        await connection.quit()
    assert [str(one.reply.status) for one in (large, eight_bit, utf8)] == ["5.3.4", "5.6.3", "5.6.7"]
    assert all(isinstance(one, Refused) and one.by_us for one in (large, eight_bit, utf8))
    assert "40" in str(large.reply)
    assert "MAIL" not in sink.verbs()


@pytest.mark.parametrize("said", ["\u00b2", "\u0664", "1" * 21, "40 40", "-1"])
async def test_a_size_that_is_no_number_is_as_none(said: str):
    async with remote() as sink:
        sink.extensions = ["PIPELINING", f"SIZE {said}"]
        connection = await connect(sink)
        assert connection.offers.size == 0
        await connection.quit()


async def test_starttls_with_a_certificate_that_proves_the_name():
    async with remote(certificate=certificate().server_context()) as sink:
        connection = await connect(sink, tls=TlsMode.REQUIRED, context=certificate().client_context())
        await connection.send(letter())
        assert connection.proof.verified
        assert connection.proof.protocol.startswith("TLSv1.")
        await connection.quit()
    assert sink.messages[0].tls
    assert sink.verbs()[:3] == ["EHLO", "STARTTLS", "EHLO"]


async def test_implicit_tls():
    async with remote(certificate=certificate().server_context(), implicit=True) as sink:
        connection = await connect(sink, tls=TlsMode.IMPLICIT, context=certificate().client_context())
        assert isinstance((await connection.send(letter()))[0], Accepted)
        assert connection.proof.verified
        await connection.quit()


@pytest.mark.parametrize(
    ("method", "said"),
    [("PLAIN", ["PLAIN AGFubmEAc2VjcmV0"]), ("LOGIN", ["LOGIN", "YW5uYQ==", "c2VjcmV0"])],
)
async def test_credentials_go_over_verified_tls(method: str, said: list[str]):
    async with remote(certificate=certificate().server_context()) as sink:
        sink.extensions.append(f"AUTH {method}")
        connection = await connect(
            sink,
            tls=TlsMode.REQUIRED,
            context=certificate().client_context(),
            credentials=Credentials("anna", "secret"),
        )
        await connection.quit()
    assert sink.arguments("AUTH") == said


async def test_credentials_are_never_sent_without_verified_tls():
    async with remote(certificate=certificate().server_context()) as sink:
        sink.extensions.append("AUTH PLAIN")
        for context, tls in ((None, TlsMode.NEVER), (certificate().client_context(), TlsMode.REQUIRED)):
            with pytest.raises(Failed) as failed:
                await Connection.open(
                    hop(sink, tls=tls, credentials=Credentials("anna", "secret")),
                    helo="us.test",
                    patience=PATIENCE,
                    guard=Guard(context=context),
                )
            assert isinstance(failed.value.outcome, Deferred)
    assert "AUTH" not in sink.verbs()


async def test_fault_n11_refused_credentials_put_off_and_bounce_nothing():
    async with remote(certificate=certificate().server_context()) as sink:
        sink.extensions.append("AUTH PLAIN")
        sink.say("AUTH", "535 5.7.8 no")
        with pytest.raises(Failed) as failed:
            await connect(
                sink,
                tls=TlsMode.REQUIRED,
                context=certificate().client_context(),
                credentials=Credentials("anna", "wrong"),
            )
    assert isinstance(failed.value.outcome, Deferred)
    assert failed.value.outcome.stage is Stage.AUTH
    assert "wrong" not in repr(Credentials("anna", "wrong"))


async def test_fault_a04_required_tls_that_is_not_offered_puts_off():
    async with remote() as sink:
        with pytest.raises(Failed) as failed:
            await connect(sink, tls=TlsMode.REQUIRED, context=certificate().client_context())
    assert isinstance(failed.value.outcome, Deferred)
    assert not failed.value.tls
    assert "MAIL" not in sink.verbs()


@pytest.mark.parametrize("injected", [b"220 ok\r\n250 AUTH PLAIN\r\n", b"220 ok\r\n25"])
async def test_fault_a03_plaintext_before_tls_drops_the_connection(injected: bytes):
    async with remote(certificate=certificate().server_context()) as sink:
        sink.say("STARTTLS", injected)
        with pytest.raises(Failed) as failed:
            await connect(sink, tls=TlsMode.OPPORTUNISTIC, context=certificate().client_context())
        await asyncio.sleep(0.05)
        assert sink.open == 0
    assert isinstance(failed.value.outcome, Deferred)
    assert not failed.value.tls, "it must not be tried in clear"
    assert "MAIL" not in sink.verbs()
