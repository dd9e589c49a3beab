"""Replies: what servers send, hostile ones too, and what we send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.model.reply import EnhancedStatus, Reply, reply
from mailrelay.smtp import codes
from mailrelay.smtp.reply import MAX_REPLY, BadReply, ReplyParser, read_reply, to_wire


def parse(wire: bytes) -> list[Reply]:
    return ReplyParser().feed(wire)


def byte_by_byte(wire: bytes) -> tuple[list[Reply], bool]:
    parser = ReplyParser()
    replies: list[Reply] = []
    try:
        for octet in wire:
            replies += parser.feed(bytes([octet]))
    except BadReply:
        return replies, True
    return replies, False


def in_one(wire: bytes) -> tuple[list[Reply], bool]:
    parser = ReplyParser()
    try:
        replies = parser.feed(wire)
    except BadReply:
        return [], True
    try:
        parser.feed(b"")
    except BadReply:
        return replies, True
    return replies, False


def test_reads_code_status_and_text() -> None:
    assert parse(b"550 5.1.1 No such user\r\n") == [reply(550, "5.1.1", "No such user")]
    assert parse(b"220 mx.example.org ESMTP\r\n") == [Reply(220, None, ("mx.example.org ESMTP",))]
    assert parse(b"250\r\n") == [Reply(250, None, ("",))]


def test_joins_lines_and_takes_the_status_out_of_each() -> None:
    wire = b"550-5.7.26 This mail is unauthenticated,\r\n550-5.7.26 see our page\r\n550 5.7.26 q12-3.abc - gsmtp\r\n"
    (found,) = parse(wire)
    assert found.status == EnhancedStatus(5, 7, 26)
    assert found.lines == ("This mail is unauthenticated,", "see our page", "q12-3.abc - gsmtp")


def test_finds_a_status_that_only_a_later_line_carries() -> None:
    (found,) = parse(b"554-Blocked by policy\r\n554 5.7.1 ask postmaster\r\n")
    assert found.status == EnhancedStatus(5, 7, 1)
    assert found.lines == ("Blocked by policy", "ask postmaster")


def test_several_replies_in_one_segment_come_in_order() -> None:
    parser = ReplyParser()
    found = parser.feed(b"250 2.1.0 Ok\r\n550-5.1.1 No\r\n550 5.1.1 Nobody\r\n35")
    assert [one.code for one in found] == [250, 550]
    assert not parser.idle
    assert [one.code for one in parser.feed(b"4 go\r\n")] == [354]
    assert parser.idle


def test_a_status_of_another_class_stays_text() -> None:
    (found,) = parse(b"250 5.1.1 odd\r\n")
    assert found == Reply(250, None, ("5.1.1 odd",))


def test_an_address_at_the_start_is_not_a_status() -> None:
    (found,) = parse(b"550 5.6.7.8 is blocked\r\n")
    assert found == Reply(550, None, ("5.6.7.8 is blocked",))


def test_ehlo_lines_stay_as_they_are() -> None:
    (found,) = parse(b"250-mx.example.org\r\n250-SIZE 1000\r\n250 8BITMIME\r\n")
    assert found.lines == ("mx.example.org", "SIZE 1000", "8BITMIME")


@pytest.mark.parametrize(
    "wire",
    [
        b"2xx hello\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\r\n",
        b"\x15\x03\x01\x00\x02\x02\n",
        b"99 hello\r\n",
        b"199 hello\r\n",
        b"650 hello\r\n",
        b"2500 hello\r\n",
        b"250_hello\r\n",
        b" 250 hello\r\n",
        b"250-one\r\n251 two\r\n",
        b"250-one\r\nhello\r\n",
        "２５０ hello\r\n".encode(),
    ],
    ids=repr,
)
def test_fault_n05_junk_is_a_bad_reply_once_and_for_all(wire: bytes) -> None:
    parser = ReplyParser()
    with pytest.raises(BadReply):
        parser.feed(wire)
    with pytest.raises(BadReply):
        parser.feed(b"250 fine\r\n")


def test_fault_n05_an_endless_reply_is_cut_off() -> None:
    parser = ReplyParser()
    line = b"250-and on\r\n"
    for _ in range(MAX_REPLY // len(line)):
        assert parser.feed(line) == []
    with pytest.raises(BadReply, match="longer"):
        parser.feed(line)


def test_fault_n05_a_line_of_a_megabyte_is_cut_off() -> None:
    with pytest.raises(BadReply, match="longer"):
        parse(b"550 " + b"x" * 1_000_000 + b"\r\n")
    with pytest.raises(BadReply, match="longer"):
        parse(b"x" * 1_000_000)


def test_fault_n05_a_long_line_is_cut_but_read() -> None:
    found = parse(b"550 5.1.1 " + b"x" * 30_000 + b"\r\n250 ok\r\n")
    assert [one.code for one in found] == [550, 250]
    assert len(found[0].text) < 2_048


def test_fault_n05_whole_replies_before_the_fault_are_not_lost() -> None:
    parser = ReplyParser()
    assert [one.code for one in parser.feed(b"250 queued\r\njunk\r\n")] == [250]
    with pytest.raises(BadReply):
        parser.feed(b"")


def test_fault_n05_a_reply_split_over_segments_is_one() -> None:
    assert byte_by_byte(b"250-2.0.0 a\r\n250 2.0.0 b\r\n") == ([reply(250, "2.0.0", "a", "b")], False)


def test_fault_n05_escapes_and_foreign_bytes_are_made_visible() -> None:
    (found,) = parse(b"550 5.0.0 \x1b[31mred\x07 \xff\xfe na\xc3\xafve \xe2\x80\xaetxt\rX\r\n")
    assert found.text == r"\x1b[31mred\x07 \xff\xfe naïve \u202etxt\x0dX"


@given(
    st.one_of(
        st.binary(max_size=300), st.lists(st.sampled_from([b"250", b"-", b" ", b"\r\n", b"5.1.1", b"a"])).map(b"".join)
    )
)
def test_any_bytes_are_replies_or_a_bad_reply_however_cut(wire: bytes) -> None:
    assert byte_by_byte(wire) == in_one(wire)
    for found in in_one(wire)[0]:
        assert 200 <= found.code < 600
        assert all(line.isprintable() or not line.isascii() for line in found.lines)


TEXT = st.text(st.characters(min_codepoint=33, exclude_categories=["C", "Z"]), min_size=1, max_size=700)


@given(
    st.sampled_from([200, 250, 354, 421, 550]),
    st.none() | st.just((1, 255)),
    st.lists(st.lists(TEXT).map(" ".join), max_size=4),
)
def test_what_is_written_reads_back_the_same(code: int, detail: tuple[int, int] | None, lines: list[str]) -> None:
    status = EnhancedStatus(code // 100, *detail) if detail and code != 354 else None
    sent = Reply(code, status, tuple(lines))
    wire = to_wire(sent, smtputf8=True)
    assert all(len(line) <= 510 for line in wire.split(b"\r\n"))
    (read,) = parse(wire)
    assert read.code == code
    if status:  # without one, a text that begins like a status is read as one
        assert read.status == status
        # Folding may part a word that has no space in 500 octets, but never loses a character.
        assert read.text.replace(" ", "") == sent.text.replace(" ", "")


@given(st.text())
def test_no_text_of_ours_makes_a_second_line(text: str) -> None:
    wire = to_wire(reply(550, "5.7.1", text))
    assert wire.endswith(b"\r\n")
    assert all(line.startswith((b"550-5.7.1", b"550 5.7.1")) for line in wire[:-2].split(b"\r\n"))
    assert b"\r" not in wire.replace(b"\r\n", b"")
    assert wire.isascii()


def test_writes_code_and_status_on_each_line() -> None:
    assert to_wire(reply(550, "5.1.1", "one", "two")) == b"550-5.1.1 one\r\n550 5.1.1 two\r\n"
    assert to_wire(codes.SEND_DATA).startswith(b"354 Send")
    assert to_wire(Reply(250, None, ())) == b"250\r\n"


def test_folds_at_spaces() -> None:
    lines = to_wire(reply(550, "5.1.1", " ".join(["word"] * 300))).split(b"\r\n")[:-1]
    assert len(lines) == 3
    assert all(line.endswith(b"word") and len(line) <= 510 for line in lines)


def test_folding_never_parts_a_character() -> None:
    for lead in range(4):
        lines = to_wire(reply(550, "5.1.1", "x" * lead + "李" * 400), smtputf8=True).split(b"\r\n")[:-1]
        assert len(lines) == 3
        assert sum(line.decode().count("李") for line in lines) == 400


@given(st.integers(200, 599), st.lists(st.text() | st.binary()))
def test_another_librarys_lines_never_raise(code: int, lines: list[str | bytes]) -> None:
    assert read_reply(code, lines).code == code


def test_every_reply_of_ours_is_a_sentence_on_one_wire_line() -> None:
    ours = {name: value for name, value in vars(codes).items() if isinstance(value, Reply)}
    assert len(ours) > 40
    for name, value in ours.items():
        wire = to_wire(value)
        assert wire.count(b"\r\n") == 1, name
        assert value.text.isascii(), name
        assert value.status is not None or 300 <= value.code < 400, name
        assert parse(wire) == [value], name


def test_replies_with_figures() -> None:
    assert str(codes.queued("Q0123")) == "250 2.0.0 queued as Q0123"
    assert "26214400" in codes.too_large(limit=26_214_400).text
    assert "30000000" in codes.too_large(limit=26_214_400, size=30_000_000).text
