"""One transaction over a wire of the test's own, on a given clock: its hook before the dot, its deadlines, its confusion."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import pytest

from mailrelay.model.address import Address
from mailrelay.model.delivery import Accepted, Deferred, Interrupted, Outcome, Refused, Stage
from mailrelay.model.envelope import EnvelopeRecipient, MailParams
from mailrelay.model.reply import Reply, reply
from mailrelay.outbound.transaction import Broken, Letter, Offers, Patience, Transaction
from mailrelay.smtp.data import END

OK = reply(250, "2.0.0", "ok")
GO = Reply(354, None, ("go on",))
BLOCK = 65_536


class FakeWire:
    """Answers from a list; each block that is put takes so many seconds."""

    def __init__(self, *answers: Reply, seconds: float = 0.0) -> None:
        self.answers = deque(answers)
        self.said: list[bytes] = []
        self.now = 0.0
        self.seconds = seconds
        self.quiet = True
        self.timeouts: list[float] = []

    async def put(self, data: bytes, timeout: float) -> None:  # noqa: ASYNC109
        self.timeouts.append(timeout)
        self.now += min(self.seconds, timeout)
        if self.seconds > timeout:
            raise Broken(f"the remote took nothing within {timeout:g} s")
        self.said.append(data)

    async def reply(self, timeout: float) -> Reply:  # noqa: ASYNC109
        self.timeouts.append(timeout)
        if not self.answers:
            raise Broken(f"no answer within {timeout:g} s")
        return self.answers.popleft()


def offers(*names: str) -> Offers:
    return Offers(names=frozenset(names), size=0, auth=())


def transaction(wire: FakeWire, *, size: int = 100, people: int = 1, **patience: float) -> Transaction:
    letter = Letter(
        mail_from=Address("anna", "a.test"),
        recipients=tuple(EnvelopeRecipient(address=Address(f"r{n}", "b.test")) for n in range(people)),
        params=MailParams(),
        content=(b"x" * 68 + b"\r\n") * (size // 70 + 1),
    )
    limits = Patience(**{"connect": 1, "banner": 1, "command": 300, "data": 600, **patience})
    return Transaction(wire, limits, letter, time=lambda: wire.now)


async def run(
    wire: FakeWire, one: Transaction, hook: Callable[[Sequence[int]], None] = lambda _: None, *names: str
) -> list[Outcome]:
    async def before_dot(places: Sequence[int]) -> None:
        hook(places)

    try:
        await one.open(offers(*names), reset=False)
        if one.go_ahead:
            await one.content(before_dot)
    except Broken as broken:
        one.interrupt(str(broken))
    return one.outcomes()


@pytest.mark.parametrize("size", [100, BLOCK - 200, BLOCK, 3 * BLOCK, 3 * BLOCK + 1])
async def test_the_hook_is_called_once_with_who_was_accepted_before_the_dot_is_out(size: int):
    wire = FakeWire(OK, OK, reply(450, "4.2.0", "later"), OK, GO, OK)
    seen: list[tuple[list[int], bool]] = []

    def hook(places: Sequence[int]) -> None:
        seen.append((list(places), END in wire.said[-1][-5:]))

    outcomes = await run(wire, transaction(wire, size=size, people=3), hook)
    assert seen == [([0, 2], False)]
    content = b"".join(wire.said[wire.said.index(b"DATA\r\n") + 1 :])
    assert content.endswith(b"\r\n.\r\n")
    assert len(content) - len(b"".join(wire.said[-1:])) >= len(content) - BLOCK
    assert [type(one) for one in outcomes] == [Accepted, Deferred, Accepted]


async def test_what_the_hook_raises_keeps_the_dot_from_being_sent():
    wire = FakeWire(OK, OK, GO, OK)

    def hook(_: Sequence[int]) -> None:
        raise RuntimeError("no")

    one = transaction(wire, size=3 * BLOCK)
    with pytest.raises(RuntimeError):
        await run(wire, one, hook)
    assert not any(said.endswith(END) for said in wire.said)
    assert one.outcomes() == [Interrupted(stage=Stage.DATA, detail="the dialogue ended early")]


async def test_fault_n03_who_answers_while_the_hook_runs_gets_no_dot():
    wire = FakeWire(OK, OK, GO, reply(550, "5.7.1", "not that"))

    def hook(_: Sequence[int]) -> None:
        wire.quiet = False

    (outcome,) = await run(wire, transaction(wire), hook)
    assert isinstance(outcome, Refused)
    assert not any(said.endswith(END) for said in wire.said)


async def test_fault_n09_a_peer_that_takes_the_content_byte_by_byte_is_given_up():
    wire = FakeWire(OK, OK, GO, OK, seconds=100)  # each block in time, all of it never
    (outcome,) = await run(wire, transaction(wire, size=1000 * BLOCK, rate=1000, whole=10**9))
    assert isinstance(outcome, Interrupted)
    assert outcome.stage is Stage.DATA
    assert "too slow" in outcome.detail
    assert wire.now < 1000


async def test_fault_n09_a_peer_that_is_slow_but_steady_gets_it_all():
    wire = FakeWire(OK, OK, GO, OK, seconds=50)
    (outcome,) = await run(wire, transaction(wire, size=50 * BLOCK, rate=1000))
    assert isinstance(outcome, Accepted)


async def test_fault_n09_one_mail_takes_no_longer_than_its_time():
    wire = FakeWire(OK, OK, GO, OK, seconds=100)
    (outcome,) = await run(wire, transaction(wire, size=1000 * BLOCK, rate=0, whole=3600))
    assert isinstance(outcome, Interrupted)
    assert "3600 s" in outcome.detail or "took nothing" in outcome.detail
    assert wire.now <= 3600


async def test_no_single_wait_is_longer_than_what_is_left():
    wire = FakeWire(OK, OK, GO, OK, seconds=9)
    await run(wire, transaction(wire, whole=40))
    assert wire.timeouts[-1] <= 40 - 9 * 3


BAD = reply(503, "5.5.1", "bad sequence of commands")


@pytest.mark.parametrize(
    "answers",
    [
        (BAD, BAD, BAD),
        (OK, Reply(500, None, ("what?",)), Reply(500, None, ("what?",))),
        (OK, OK, Reply(502, None, ("what?",))),
        (OK, OK, BAD),
    ],
)
async def test_fault_n15_errors_of_sequence_in_a_segment_are_no_answers(answers: tuple[Reply, ...]):
    wire = FakeWire(*answers)
    one = transaction(wire)
    await run(wire, one, lambda _: None, "pipelining")
    assert one.confused
    assert not one.go_ahead
    assert one.closing


@pytest.mark.parametrize(
    "answers",
    [
        (OK, reply(550, "5.1.1", "no such user"), BAD),
        (reply(550, "5.7.1", "never"), BAD, BAD),
        (OK, reply(503, "5.7.0", "log in first"), reply(554, "5.5.1", "no valid recipients")),
    ],
)
async def test_fault_n15_what_follows_from_a_refusal_is_no_confusion(answers: tuple[Reply, ...]):
    wire = FakeWire(*answers)
    one = transaction(wire)
    (outcome,) = await run(wire, one, lambda _: None, "pipelining")
    assert not one.confused
    assert isinstance(outcome, Refused)
