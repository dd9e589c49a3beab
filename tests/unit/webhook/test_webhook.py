"""When calls are tried again, what answers come to, and what is signed."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.ids import EventSeq, OrgId
from mailrelay.model.event import Event, EventType
from mailrelay.model.webhook import chain, event_id
from mailrelay.web.api.events import ShownEvent
from mailrelay.webhook import payload, retry, sign
from mailrelay.webhook.request import redacted

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


def event(**more: object) -> Event:
    fields: dict[str, object] = {
        "seq": EventSeq(17),
        "org": OrgId("O1"),
        "at": NOW,
        "type": EventType.MESSAGE_FILED,
        "queue_id": "Q1",
        "message": "M1",
        "delivery": "",
        "data": (("subject", "grüße"),),
    }
    return Event(**{**fields, **more})  # type: ignore[arg-type]


def test_pauses_grow_to_four_hours_and_spread_by_a_fifth():
    middle = [retry.pause(number, lambda: 0.5).total_seconds() for number in range(1, 12)]
    assert middle[:4] == [5, 15, 45, 135]
    assert middle[-1] == 4 * 3600
    assert (retry.pause(1, lambda: 0.0), retry.pause(1, lambda: 1.0)) == (timedelta(seconds=4), timedelta(seconds=6))
    assert retry.pause(10_000, lambda: 1.0) == timedelta(hours=4.8)
    assert 20 < _tries(timedelta(days=3)) < 40


def _tries(lifetime: timedelta) -> int:
    number, at = 0, timedelta()
    while at < lifetime:
        number += 1
        at += retry.pause(number, lambda: 0.5)
    return number


def test_a_receiver_rests_after_five_failures_in_a_row_and_ten_minutes_at_most():
    assert [retry.rest(number).total_seconds() for number in (0, 4, 5, 6, 7, 100_000)] == [0, 0, 5, 10, 20, 600]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("99999999999999999999", 3600),
        ("Mon, 02 Nov 2026 09:31:00 GMT", 60),
        ("Mon, 02 Nov 2026 09:31:00 -0000", 60),
        ("Mon, 02 Nov 2026 09:29:00 GMT", 0),
        ("Sat, 02 Nov 2126 09:29:00 GMT", 3600),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1e9", None),
        ("٣", None),
    ],
)
def test_what_retry_after_asks_for(header: str, seconds: int | None):
    assert retry.wish(header, NOW) == (None if seconds is None else timedelta(seconds=seconds))


@given(st.text(max_size=40))
def test_any_retry_after_is_a_span_or_nothing(header: str):
    found = retry.wish(header, NOW)
    assert found is None or timedelta() <= found <= timedelta(hours=1)


@given(st.binary(max_size=3000))
def test_what_a_receiver_said_is_short_and_harmless(body: bytes):
    said = redacted(body)
    assert len(said) <= 1000
    # Nothing that ends a line, moves a terminal's cursor, or is no character at all.
    assert not {unicodedata.category(char) for char in said} & {"Cc", "Zl", "Zp", "Cs"}


@pytest.mark.parametrize(
    "secret",
    [
        b"whsec_c2VjcmV0c2VjcmV0",
        b"Authorization: Bearer mr_abc",
        b"key=AKIAIOSFODNN7EXAMPLEKEYISLONG",
        b"basic dXNlcjpwdw==",
    ],
)
def test_fault_w02_what_looks_like_a_secret_is_not_kept(secret: bytes):
    said = redacted(b"it failed: " + secret + b" sorry")
    assert said.startswith("it failed: ")
    assert "sorry" in said
    assert secret.split()[-1].decode().removeprefix("key=") not in said


def test_a_payload_is_the_event_as_the_api_shows_it_and_always_the_same():
    one = event(user="U1", record="contact/1", at=NOW.replace(microsecond=120_000))
    body = json.loads(payload.of_event(one))
    assert body["data"] == json.loads(ShownEvent.of(one).model_dump_json())
    assert (body["type"], body["timestamp"]) == ("message.filed", body["data"]["at"])
    assert payload.of_event(one) == payload.of_event(event(user="U1", record="contact/1", at=one.at))
    assert "grüße".encode() in payload.of_event(one)


def test_an_events_id_is_its_own_also_after_a_restored_store_counts_anew():
    assert event_id(event()) == event_id(event(data=()))
    assert len({event_id(event()), event_id(event(seq=18)), event_id(event(at=NOW + timedelta(microseconds=1)))}) == 3


def test_what_an_event_is_in_order_with():
    assert chain(event(record="contact/1")) == "M1"
    assert chain(event(message="", record="contact/1")) == "contact/1"
    assert chain(event(message="", type=EventType.USER_CHANGED)) == chain(
        event(message="", type=EventType.USER_CREATED)
    )


def test_no_two_secrets_are_the_same_and_none_is_short():
    assert sign.new_secret() != sign.new_secret()
    assert len(sign.new_secret()) == len("whsec_") + 44


def test_what_is_no_secret_signs_nothing():
    with pytest.raises(ValueError, match="base64"):
        sign.signature("whsec_%%%", "evt_1", NOW, b"{}")
