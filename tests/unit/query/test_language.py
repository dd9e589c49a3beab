"""The language: what is said, what it means, and what is said of what is wrong; any text is a query or has a column (K2)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailrelay.ids import OrgId
from mailrelay.model.record import AddressField, AddressKind, Field, FieldType, Module
from mailrelay.query import grammar as grammar_code
from mailrelay.query import meaning, phrases
from mailrelay.query.check import check
from mailrelay.query.grammar import LONGEST, parse
from mailrelay.query.meaning import All, Any, Fact, Mail, Opposite, Question
from mailrelay.query.names import Known
from mailrelay.query.tokens import BadQuery
from mailrelay.query.tree import Word
from mailrelay.query.when import Days, Here, Span, days, span

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 22, 11, 0, tzinfo=UTC)
HERE = Here(NOW, BERLIN)


def _module(name: str, label: str, *fields: Field) -> Module:
    email = AddressField(name="email", kind=AddressKind.PRIMARY, matched=True)
    return Module(org=OrgId("O"), name=name, label=label, custom=False, address_fields=(email,), fields=fields)


MODULES = (
    _module(
        "contact", "Contacts", Field(name="vip", type=FieldType.BOOLEAN), Field(name="birthday", type=FieldType.DATE)
    ),
    _module(
        "deal",
        "Opportunities",
        Field(name="stage", type=FieldType.TEXT),
        Field(name="amount", type=FieldType.NUMBER),
        Field(name="closing_date", type=FieldType.DATE, aliases=("closing",)),
        Field(name="called", type=FieldType.TIME),
    ),
    _module("lead", "Leads"),
    _module("sales_order", "Sales orders"),
    _module("company", "Companies"),
)
KNOWN = Known(modules=MODULES, here=HERE, me="U1", user=lambda said: "U2" if said == "ben@example.org" else None)


def meant(text: str) -> Question:
    return check(parse(text), KNOWN)


@pytest.mark.parametrize("field", ["created", "called", "closing_date"])
def test_what_goes_to_the_end_of_the_calendar_has_no_end(field: str) -> None:
    last = meant(f"deals where {field} = 9999-12-31").where
    assert isinstance(last, meaning.Field)
    assert last.span is not None
    assert last.span.start is not None
    assert last.span.end is None
    until = meant(f"deals where {field} until 9999-12-31").where
    assert isinstance(until, meaning.Field)
    assert until.span == Span()


@pytest.mark.parametrize("text", ["contacts", "CONTACT", "Contacts"])
def test_a_module_is_called_by_its_name_or_its_plural(text: str) -> None:
    assert meant(text) == Question(module="contact", where=None)


@pytest.mark.parametrize(
    ("text", "module"),
    [
        ("opportunity", "deal"),
        ("opportunities", "deal"),
        ("Sales Orders", "sales_order"),
        ("companies", "company"),
        ("company", "company"),
    ],
)
def test_a_module_is_called_by_its_label_too(text: str, module: str) -> None:
    assert meant(f"{text} where sent").module == module


def test_words_joined_by_and_speak_of_one_mail_and_parentheses_of_another() -> None:
    sent, opened, replied = (Fact(word=word) for word in (Word.SENT, Word.OPENED, Word.REPLIED))
    assert meant("leads where opened and not answered").where == Mail(all=(opened,), none=(replied,))
    assert meant("leads where opened or replied").where == Any((Mail(all=(opened,)), Mail(all=(replied,))))
    assert meant("leads where sent and (opened)").where == All((Mail(all=(sent,)), Mail(all=(opened,))))
    assert meant("leads where not (opened)").where == Opposite(Mail(all=(opened,)))
    assert meant("leads where never opened").where == Opposite(Mail(all=(opened,)))
    assert meant("leads where not not opened").where == Mail(all=(opened,))
    assert meant("leads where not opened").where == Mail(all=(sent,), none=(opened,))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "column 1: expected a module, such as contacts or deals, found the end"),
        ("contracts where opened", "column 1: there is no module 'contracts'; did you mean contacts?"),
        ("contacts wher opened", "column 10: expected 'where', found 'wher'; did you mean where?"),
        ("contacts where", "column 15: expected a condition"),
        ("contacts where opend", "column 16: contact has no field 'opend'; did you mean opened?"),
        (
            "contacts where opened whithin 3 days",
            "column 23: expected 'and', 'or' or the end, found 'whithin'; did you mean within?",
        ),
        ("contacts where opened within three days", "column 30: expected a number, found 'three'"),
        (
            "contacts where opened within 3 dys",
            "column 32: expected a unit of time: minutes, hours, days, weeks, months, quarters, years, found 'dys'; did you mean days?",
        ),
        ("contacts where (opened", "column 23: expected 'and', 'or' or ')', found the end"),
        ('contacts where name = "x', "column 23: this quotation mark is never closed"),
        ("contacts where sent since 2026-02-30", "column 27: there is no day or time 2026-02-30"),
        ("contacts where received and opened", "column 29: one mail is not both received and opened"),
        ("contacts where not sent", "column 20: 'not sent' says nothing of a mail by itself; say 'never sent'"),
        ("contacts where replied at least 2 times", "column 24: only 'opened' and 'clicked' are counted"),
        ("contacts where opened hard", "column 23: only 'bounced' is hard or soft, not 'opened'"),
        ('contacts where opened "x"', "column 23: only 'clicked' takes a part of a link, not 'opened'"),
        ("contacts where opened at least 0 times", "column 23: what is counted happened once at least"),
        ("deals where amount = much", "column 22: 'much' must be a number"),
        ("deals where amount this month", "column 13: amount is a number and does not stand with a time"),
        ("deals where stage > 3", "column 13: stage is text and does not stand with '>'"),
        (
            "deals where closing within 3 days",
            "column 21: a field may lie on either side: say 'within the last 3 days'",
        ),
        ("deals where closing = soon", "column 23: 'soon' must be a day such as 2026-12-01"),
        ("deals where owner = zoe@example.org", "column 21: no user has the address or id 'zoe@example.org'"),
        ("deals where sent more than 99999 years ago", "column 13: no calendar goes so far"),
        ("deals where name = or", "column 20: expected a value, found 'or'; put it in quotation marks"),
        ("deals where stage in (a b)", "column 25: expected ',' or ')', found 'b'"),
        ("deals where " + "(" * 30 + "sent" + ")" * 30, "nested more than 20 deep"),
        ("deals where " + " or ".join(["sent"] * 51), "a query has 50 conditions at most"),
        ("x" * (LONGEST + 1), f"a query has {LONGEST} characters at most"),
    ],
)
def test_what_is_wrong_is_said_with_its_column(text: str, error: str) -> None:
    with pytest.raises(BadQuery) as raised:
        meant(text)
    assert error in str(raised.value)


def test_me_is_nobody_where_nobody_in_particular_asks() -> None:
    nobody = Known(modules=MODULES, here=HERE, me="", user=KNOWN.user)
    with pytest.raises(BadQuery, match="column 21: 'me' is a user"):
        check(parse("deals where owner = me"), nobody)


def _span(phrase: str, here: Here = HERE) -> tuple[str, str]:
    found = span(parse(f"a where x {phrase}").where.when, here)  # type: ignore[union-attr, arg-type]
    return tuple("" if at is None else at.strftime("%m-%d %H:%M") for at in (found.start, found.end))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("phrase", "start", "end"),
    [
        ("today", "11-21 23:00", "11-22 23:00"),
        ("yesterday", "11-20 23:00", "11-21 23:00"),
        ("this week", "11-15 23:00", "11-22 23:00"),
        ("last month", "09-30 22:00", "10-31 23:00"),  # Berlin left summer time on 25 October
        ("next quarter", "12-31 23:00", "03-31 22:00"),
        ("last year", "12-31 23:00", "12-31 23:00"),
        ("within the last 2 hours", "11-22 09:00", "11-22 11:00"),
        ("in the last 30 days", "10-23 10:00", "11-22 11:00"),  # the same time of day, an hour earlier in UTC
        ("within the next 1 weeks", "11-22 11:00", "11-29 11:00"),
        ("more than 3 days ago", "", "11-19 11:00"),
        ("less than 3 days ago", "11-19 11:00", "11-22 11:00"),
        ("since 2026-11-01", "10-31 23:00", ""),
        ("after 2026-11-01", "11-01 23:00", ""),
        ("before 2026-11-01", "", "10-31 23:00"),
        ("until 2026-11-01", "", "11-01 23:00"),
        ("on 2026-11-01", "10-31 23:00", "11-01 23:00"),
        ("between 2026-11-01 and yesterday", "10-31 23:00", "11-21 23:00"),
        ("since 2026-11-01T08:00", "11-01 07:00", ""),
        ("since 2026-11-01T08:00:00Z", "11-01 08:00", ""),
        ("since 2 weeks ago", "11-08 11:00", ""),
    ],
)
def test_times_are_where_the_organisation_is(phrase: str, start: str, end: str) -> None:
    assert _span(phrase) == (start, end)


def test_a_day_has_25_hours_when_clocks_go_back() -> None:
    autumn = Here(datetime(2026, 10, 25, 12, 0, tzinfo=UTC), BERLIN)
    assert _span("today", autumn) == ("10-24 22:00", "10-25 23:00")


def test_days_of_a_month_end_with_it() -> None:
    march = Here(datetime(2026, 3, 31, 12, 0, tzinfo=UTC), BERLIN)
    when = parse("a where x within the last 1 months").where.when  # type: ignore[union-attr]
    assert days(when, march) == Days(date(2026, 2, 28), date(2026, 4, 1))  # type: ignore[arg-type]


def test_what_is_compared_with_a_day_becomes_a_span() -> None:
    def found(text: str) -> Span:
        where = meant(f"deals where {text}").where
        assert isinstance(where, meaning.Field)
        return where.span

    first, second = (datetime(2026, 12, day, tzinfo=UTC) for day in (1, 2))
    assert found("closing = 2026-12-01") == Span(first, second)
    assert found("closing > 2026-12-01") == Span(second, None)
    assert found("closing <= 2026-12-01") == Span(None, second)
    assert found("closing before 2026-12-01") == Span(None, first)
    assert found("called = 2026-12-01").start == datetime(2026, 11, 30, 23, tzinfo=UTC)


def test_a_field_may_be_called_like_a_word_of_mail() -> None:
    sent = Field(name="sent", type=FieldType.TEXT)
    known = Known(modules=(_module("parcel", "Parcels", sent),), here=HERE, me="", user=KNOWN.user)
    assert isinstance(check(parse("parcels where sent = yes"), known).where, meaning.Field)
    assert isinstance(check(parse("parcels where sent"), known).where, Mail)


_SAID = """contacts deals where and or not never ( ) , = != < >= in contains starts with is empty opened clicked bounced hard sent
received at least exactly once 3 times within the last next this days week month ago more than since between before 2026-11-01 name
amount closing vip owner me "text" \\" ' \""""
_PIECES = st.sampled_from(_SAID.split())


@given(st.lists(_PIECES, max_size=25).map(" ".join) | st.text(max_size=60))
@example("contacts where \x00")
@example("deals where amount in (")
def test_any_text_is_a_query_or_has_a_column(text: str) -> None:
    try:
        meant(text)
    except BadQuery as error:
        column = error.column
    else:
        column = 1
    assert 1 <= column <= len(text) + 1


def _examples() -> list[str]:
    page = (Path(__file__).parents[3] / "docs" / "find.md").read_text(encoding="utf-8")
    return [
        line.strip()
        for block in re.findall(r"```query\n(.*?)```", page, re.DOTALL)
        for line in block.splitlines()
        if line.strip()
    ]


@pytest.mark.parametrize("text", _examples())
def test_every_example_of_the_documentation_is_a_query(text: str) -> None:
    parse(text)
    known = Known(modules=_standard(), here=HERE, me="U1", user=lambda said: "U2")
    check(parse(text), known)


def _standard() -> tuple[Module, ...]:
    from mailrelay.model.record import STANDARD_MODULES
    from mailrelay.store.modules import _ADDRESS_FIELDS, _FIELDS

    return tuple(
        Module(
            org=OrgId("O"),
            name=name,
            label=label,
            custom=False,
            address_fields=_ADDRESS_FIELDS.get(name, ()),
            fields=_FIELDS.get(name, ()),
        )
        for name, label in STANDARD_MODULES
    )


def test_the_grammar_of_the_documentation_has_every_word() -> None:
    page = (Path(__file__).parents[3] / "docs" / "find.md").read_text(encoding="utf-8")
    grammar = page.partition("```ebnf")[2].partition("```")[0]
    for word in (
        *grammar_code._WORDS,
        *(str(unit) for unit in phrases._UNITS.values()),
        *phrases.WHEN,
        "never",
        "contains",
        "starts",
    ):
        assert f'"{word}"' in grammar, word
