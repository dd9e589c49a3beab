"""DATA: the one end there is, line ends, dots, limits; the same result however the bytes were cut."""

from __future__ import annotations

import re
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailrelay.smtp import codes
from mailrelay.smtp.data import (
    END,
    BareNewline,
    DataFault,
    DataReader,
    has_bare_newline,
    normalise_newlines,
    stuff,
)

LIMIT = 10_000
SMUGGLED = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nSubject: smuggled\r\n"
# S01: what some server somewhere takes for the end of a message.
FALSE_ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r.\r",
    b"\n\n.\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
]
# Bytes that matter to the reader, so that hypothesis meets ends, dots and bare line ends all the time.
WIRE = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"\0", b"x", b"\r\n.", b"\r\n..", b"y" * 997, b"z" * 998])
).map(b"".join)


class Read:
    """All that can be seen of reading `wire` in the given chunks."""

    def __init__(self, *chunks: bytes, max_size: int = LIMIT) -> None:
        pieces: list[bytes] = []
        reader = DataReader(pieces.append, max_size=max_size)
        self.rest: bytes | None = None
        for index, chunk in enumerate(chunks):
            self.rest = reader.feed(chunk)
            if self.rest is not None:
                self.rest += b"".join(chunks[index + 1 :])
                break
        self.ended = reader.ended
        self.faults = reader.faults
        self.refusal = reader.refusal
        self.size = reader.size
        self.received = reader.received
        self.content = b"".join(pieces)
        self.reader = reader

    def seen(self) -> tuple[object, ...]:
        """What may not depend on the chunks; of refused content the pieces may, since they are thrown away."""
        content = None if self.faults else self.content
        return self.ended, self.faults, self.size, self.received, self.rest, content


def one_by_one(wire: bytes) -> list[bytes]:
    return [bytes([octet]) for octet in wire]


def plainly(wire: bytes) -> tuple[bytes, bytes] | None:
    """Content and rest by the RFC's words, written another way: line by line, CRLF only."""
    lines: list[bytes] = []
    while True:
        line, newline, wire = wire.partition(b"\r\n")
        if not newline:
            return None
        if line == b".":
            return b"".join(lines), wire
        lines.append(line.removeprefix(b".") + newline)


def test_reads_content_and_returns_what_follows_it() -> None:
    read = Read(b"Subject: x\r\n\r\nhello\r\n..dot\r\n.\r\nQUIT\r\n")
    assert read.content == b"Subject: x\r\n\r\nhello\r\n.dot\r\n"
    assert read.rest == b"QUIT\r\n"
    assert read.size == len(read.content)
    assert read.refusal is None


def test_an_empty_message_ends_at_once() -> None:
    read = Read(b".\r\nRSET\r\n")
    assert (read.content, read.rest, read.size, read.refusal) == (b"", b"RSET\r\n", 0, None)


@pytest.mark.parametrize("end", FALSE_ENDS, ids=repr)
@pytest.mark.parametrize("cut", ["whole", "bytes"])
def test_fault_s01_no_other_sequence_ends_a_message(end: bytes, cut: str) -> None:
    wire = b"Subject: first\r\n\r\nbody" + end + SMUGGLED + b"\r\nx\r\n.\r\n"
    read = Read(wire) if cut == "whole" else Read(*one_by_one(wire))
    assert read.ended
    assert read.rest == b""
    assert read.refusal is not None
    assert read.refusal.is_permanent
    assert read.refusal is (codes.NUL_IN_MESSAGE if b"\0" in end else codes.BARE_NEWLINE)


@pytest.mark.parametrize("end", FALSE_ENDS, ids=repr)
def test_fault_s01_a_false_end_keeps_waiting_for_the_real_one(end: bytes) -> None:
    read = Read(b"body" + end + b"QUIT\r\n")
    assert not read.ended
    assert read.rest is None


@pytest.mark.parametrize("end", FALSE_ENDS, ids=repr)
def test_fault_s02_content_with_false_ends_leaves_as_one_message(end: bytes) -> None:
    content = b"Subject: first\r\n\r\nbody" + end + SMUGGLED
    wire = stuff(normalise_newlines(content)) + END
    read = Read(wire + b"QUIT\r\n")
    assert read.rest == b"QUIT\r\n"
    assert not read.faults & DataFault.BARE_NEWLINE
    if b"\0" not in content:
        assert read.content == normalise_newlines(content)


@given(WIRE, st.lists(st.integers(0, 3_000), max_size=6))
@example(b"a\r\n.\r\n", [1, 2, 3, 4, 5])
@example(b"y" * 998 + b"\r\n.\r\n", [998, 999, 1000])
@example(b"y" * 999 + b"\r\n.\r\n", [1, 998, 999, 1000])
def test_fault_s08_the_result_does_not_depend_on_the_chunks(wire: bytes, cuts: list[int]) -> None:
    whole = Read(wire).seen()
    assert Read(*one_by_one(wire)).seen() == whole
    edges = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    assert Read(*(wire[a:b] for a, b in pairwise(edges))).seen() == whole


@given(WIRE)
def test_reads_what_the_rfc_says_line_by_line(wire: bytes) -> None:
    expected = plainly(wire)
    read = Read(wire, max_size=1 << 30)
    assert read.ended == (expected is not None)
    if expected is None:
        return
    content, rest = expected
    assert read.rest == rest
    assert read.size == len(content)
    assert bool(read.faults & DataFault.BARE_NEWLINE) == bool(re.search(rb"\r(?!\n)|(?<!\r)\n", content))
    assert bool(read.faults & DataFault.NUL) == (b"\0" in content)
    assert bool(read.faults & DataFault.LONG_LINE) == any(len(line) > 998 for line in content.split(b"\r\n"))
    if not read.faults:
        assert read.content == content


@given(WIRE.map(normalise_newlines))
def test_reading_undoes_stuffing(content: bytes) -> None:
    read = Read(stuff(content) + END + b"NOOP\r\n", max_size=1 << 30)
    assert read.rest == b"NOOP\r\n"
    if not read.faults:
        assert read.content in (content, content + b"\r\n")


@given(st.binary())
def test_normalised_content_has_only_crlf_and_stays_so(content: bytes) -> None:
    once = normalise_newlines(content)
    assert not has_bare_newline(once)
    assert normalise_newlines(once) == once
    assert re.split(rb"\r\n|\r|\n", content) == once.split(b"\r\n")


@pytest.mark.parametrize("content", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\r\n", b"a\r\n\n", b"a\r"])
def test_fault_s02_a_bare_newline_never_leaves(content: bytes) -> None:
    with pytest.raises(BareNewline):
        stuff(content)


def test_stuffing_doubles_only_dots_that_begin_lines() -> None:
    assert stuff(b".a\r\n.\r\nb.\r\n..c") == b"..a\r\n..\r\nb.\r\n...c\r\n"
    assert stuff(b"") == b""


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("length", "good"), [(998, True), (999, False), (5_000, False)])
def test_fault_s29_a_line_may_have_998_octets(length: int, *, good: bool, first: bool) -> None:
    wire = (b"" if first else b"Subject: x\r\n\r\n") + b"x" * length + b"\r\nmore\r\n.\r\n"
    for read in (Read(wire), Read(*one_by_one(wire))):
        assert read.ended
        assert read.refusal is (None if good else codes.LINE_TOO_LONG)


def test_fault_s29_a_stuffed_dot_does_not_count() -> None:
    assert Read(b".." + b"x" * 997 + b"\r\n.\r\n").refusal is None
    assert Read(b".." + b"x" * 998 + b"\r\n.\r\n").refusal is codes.LINE_TOO_LONG


@pytest.mark.parametrize(("over", "refusal"), [(-1, None), (0, None), (1, codes.TOO_LARGE)])
def test_fault_s05_the_limit_counts_content_not_dots(over: int, refusal: object) -> None:
    line = b".." + b"x" * 97 + b"\r\n"  # 100 octets of content on a wire of 101
    content = line * 99 + b"y" * (98 + over) + b"\r\n"
    for chunks in ([content + END], [content, END], one_by_one(content + END)):
        read = Read(*chunks, max_size=10_000)
        assert read.size == 10_000 + over
        assert read.refusal is refusal


def test_fault_s03_memory_is_flat_under_a_line_without_end() -> None:
    kept: list[bytes] = []
    reader = DataReader(kept.append, max_size=100_000)
    chunk = b"x" * 65_536
    tracemalloc.start()
    for _ in range(400):
        assert reader.feed(chunk) is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    assert sum(map(len, kept)) <= 100_000
    assert reader.received == 400 * 65_536
    assert reader.feed(b"\r\n.\r\nQUIT\r\n") == b"QUIT\r\n"
    assert reader.refusal in (codes.TOO_LARGE, codes.LINE_TOO_LONG)


def test_a_message_that_ended_takes_nothing_more() -> None:
    reader = DataReader(lambda _: None, max_size=LIMIT)
    reader.feed(b".\r\n")
    with pytest.raises(ValueError, match="ended"):
        reader.feed(b"x")


def test_errors_of_the_sink_pass_through() -> None:
    def full(_: bytes) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        DataReader(full, max_size=LIMIT).feed(b"x\r\n.\r\n")
