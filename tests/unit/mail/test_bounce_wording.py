"""`mail/bounce/wording.py`: texts as plain words, and patterns of them."""

from __future__ import annotations

import pytest

from mailrelay.mail.bounce import phrases
from mailrelay.mail.bounce.wording import Book, words


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("The mailbox is FULL.", "mailbox full"),
        ("<ann@shop.example>: User unknown", "user unknown"),
        ("host mx1.full-mailbox.example[192.0.2.1] said", "host said"),
        ("550-5.1.1 User\r\n550 5.1.1 unknown", "user unknown"),
        ("<b>User</b> <a href='x'>unknown</a>", "user unknown"),
        ("doesn't exist, can't be found", "not exist can not found"),
        ("listed at zen.spamhaus.org", "listed at dnsbl"),
        ("see https://mail.shop.example/help?p=NoSuchUser", "see https help p nosuchuser"),
        ("ann@shop.example...User unknown", "user unknown"),
        ("Empfänger unbekannt", "empfanger unbekannt"),
        ("Skrzynka przepełniona", "skrzynka przepelniona"),
        ("OFR005_506 [506]", "ofr_506"),
        ("", ""),
    ],
)
def test_a_text_in_plain_words(text, plain):
    assert " ".join(words(text)) == plain


@pytest.mark.parametrize(
    ("line", "text", "holds"),
    [
        ("user unknown", "sorry user unknown here", True),
        ("user unknown", "user not unknown", False),
        ("user|mailbox full", "mailbox full", True),
        ("no|not longer? active", "not active", True),
        ("no|not longer? active", "no longer active", True),
        ("mailbox * full", "mailbox of our dear ann full", True),
        ("mailbox * full", "mailbox " + "of " * 20 + "full", False),
        ("WHO gone", "alias gone", True),
        ("WHO gone", "who gone", False),
    ],
)
def test_a_pattern_holds(line, text, holds):
    book = Book({"WHO": "user alias"})
    book.add(7, line)
    assert book.find(text.split()) == (7 if holds else None)


def test_of_two_patterns_the_lower_rank_decides():
    book = Book({})
    book.add(1, "mailbox full")
    book.add(2, "user unknown")
    assert book.find(["user", "unknown", "mailbox", "full"]) == 1


@pytest.mark.parametrize(
    ("line", "error"), [("* full", ValueError), ("mailbox *", ValueError), ("NOBODY full", KeyError)]
)
def test_a_pattern_that_cannot_hold_is_refused(line, error):
    with pytest.raises(error):
        Book({}).add(0, line)


@pytest.mark.parametrize("groups", [phrases.SURE, phrases.VAGUE])
def test_every_word_of_a_pattern_is_one_that_a_text_can_have(groups):
    known = {word for pattern in groups.patterns() for run in pattern.runs for either in run for word in either}
    assert {word for word in known if words(word) != [word]} == set()
