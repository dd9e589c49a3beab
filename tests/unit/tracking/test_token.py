"""Signed tokens: they say exactly what was put in, and nobody else can make one (T01, T02, T03)."""

from __future__ import annotations

import base64
import hmac
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailrelay.errors import Invalid
from mailrelay.ids import DeliveryId
from mailrelay.tracking import token as tokens
from mailrelay.tracking.target import MAX_TARGET, location, target_host
from mailrelay.tracking.token import Keys, Kind, Token, host_of, make, read

KEYS = Keys.derive(b"the secret of the installation")
OTHER = Keys.derive(b"another secret")
HOST = "track.example"
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
deliveries = st.text(ALPHABET, min_size=20, max_size=20).map(lambda text: DeliveryId("D" + text))
DELIVERY = DeliveryId("D01JB2C3D4E5F6G7H8J9K")
rest = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\\\u2028\u2029"), max_size=1_900
)
targets = st.builds(
    lambda scheme, host, path: f"{scheme}://{host}/{path}".encode()[:MAX_TARGET].decode("utf-8", "ignore"),
    st.sampled_from(("http", "https", "HTTPS")),
    st.sampled_from(("a.example", "xn--bcher-kva.example:8443", "192.0.2.1", "[2001:db8::1]", "localhost")),
    rest,
)
CLICK = make(Token(Kind.CLICK, DELIVERY, 3, "https://shop.example/?a=b&c=d#e"), KEYS, HOST)


@given(deliveries, st.integers(0, 65_535), targets, st.text(max_size=60), st.sampled_from(Kind))
def test_whatever_is_put_in_comes_out(delivery: DeliveryId, link: int, target: str, list_: str, kind: Kind):
    said = Token(kind, delivery, link, target, list_)
    text = make(said, KEYS, HOST)
    assert read(text, KEYS, HOST) == said
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize("size", range(MAX_TARGET - 3, MAX_TARGET + 1))
@pytest.mark.parametrize("filler", ["x", "ü", "0a1Z-q_9"])
def test_the_longest_targets_come_out(size: int, filler: str):
    target = ("https://a.example/" + filler * MAX_TARGET).encode()[:size].decode("utf-8", "ignore")
    text = make(Token(Kind.CLICK, DELIVERY, 1, target), KEYS, HOST)
    assert len(text) <= tokens.LONGEST
    found = read(text, KEYS, HOST)
    assert found is not None
    assert found.target == target


def test_the_longest_token_is_not_too_long():
    chars = random.Random(1).choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", k=1_982)
    said = Token(Kind.CLICK, DELIVERY, 65_535, "https://a.example/" + "".join(chars), "x" * 255)
    assert read(make(said, KEYS, HOST), KEYS, HOST) == said


def test_every_flipped_bit_makes_it_nothing():
    for at in range(len(CLICK)):
        for bit in range(8):
            changed = CLICK[:at] + chr(ord(CLICK[at]) ^ (1 << bit)) + CLICK[at + 1 :]
            assert read(changed, KEYS, HOST) is None, (at, bit)


def test_no_other_spelling_of_the_same_octets_counts():
    assert read(CLICK, KEYS, HOST) is not None
    for text in (CLICK + "=", CLICK + "==", CLICK + "\n", " " + CLICK, CLICK + "%27", CLICK[:-1], CLICK.lower(), ""):
        assert read(text, KEYS, HOST) is None


def test_fault_t01_a_cut_signature_another_key_and_a_withdrawn_one_are_nothing():
    assert read(CLICK, OTHER, HOST) is None
    old = make(Token(Kind.OPEN, DELIVERY), OTHER, HOST)
    both = Keys.derive(b"the secret of the installation", [b"another secret"])
    assert read(old, both, HOST) is not None
    assert read(CLICK, both, HOST) is not None
    assert read(old, KEYS, HOST) is None
    raw = base64.urlsafe_b64decode(CLICK + "=" * (-len(CLICK) % 4))
    for cut in range(len(raw)):
        assert read(base64.urlsafe_b64encode(raw[:cut]).rstrip(b"=").decode(), KEYS, HOST) is None


def test_fault_t03_one_host_s_token_is_nothing_on_another():
    assert read(CLICK, KEYS, "links.other.example") is None
    assert read(CLICK, KEYS, "") is None
    assert read(CLICK, KEYS, "TRACK.example:8443") == read(CLICK, KEYS, HOST)


def test_fault_t03_a_token_counted_up_and_a_hundred_thousand_random_ones_are_nothing():
    raw = base64.urlsafe_b64decode(CLICK + "=" * (-len(CLICK) % 4))
    draw = random.Random(3)
    counted = (raw[:at] + bytes([(raw[at] + 1) % 256]) + raw[at + 1 :] for at in range(len(raw)))
    guessed = (KEYS.current.id + draw.randbytes(len(raw) - len(KEYS.current.id)) for _ in range(100_000))
    for each in (*counted, *guessed):
        assert read(base64.urlsafe_b64encode(each).rstrip(b"=").decode(), KEYS, HOST) is None


@pytest.mark.parametrize("keys", [KEYS, OTHER], ids=["known key id", "unknown key id"])
@pytest.mark.parametrize(
    "text", [CLICK[:-1] + "!", "", "x" * 10_000, "A" * 60], ids=["junk", "nothing", "long", "zeros"]
)
def test_fault_t03_whatever_is_wrong_one_signature_is_compared_in_constant_time(
    text: str, keys: Keys, monkeypatch: pytest.MonkeyPatch
):
    compared: list[int] = []
    real = hmac.compare_digest
    monkeypatch.setattr(tokens.hmac, "compare_digest", lambda one, other: compared.append(1) or real(one, other))
    assert read(text, keys, HOST) is None
    assert compared == [1]


@given(
    st.one_of(st.text(max_size=300), st.binary(max_size=300).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
)
def test_anything_else_is_nothing_and_never_an_error(text: str):
    assert read(text, KEYS, HOST) is None


@given(st.binary(max_size=120))
def test_what_a_later_version_signed_is_read_or_nothing(body: bytes):
    signed = KEYS.current.id + body
    mac = hmac.digest(KEYS.current.secret, tokens._over(HOST) + signed, "sha256")[:16]
    text = base64.urlsafe_b64encode(signed + mac).rstrip(b"=").decode()
    found = read(text, KEYS, HOST)
    assert found is None or isinstance(found, Token)


UNSAFE = [
    "javascript:alert(1)",
    "JaVaScRiPt://a.example/%0aalert(1)",
    "data:text/html,x",
    "vbscript:x",
    "file:///etc/passwd",
    "ftp://a.example/",
    "//evil.example",
    "/relative",
    "",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "https://",
    "https://?x",
    "https://bank.example@evil.example/",
    "https://user:pw@evil.example/",
    "https://a.example\\@evil.example/",
    "https://a.example\\evil",
    "https:\\\\evil.example",
    "https://a.example/\\evil",
    "https://a.example/x\r\nSet-Cookie: a=b",
    "https://a.example/x\ny",
    "https://a.exam\tple/",
    " https://a.example/",
    "\x00https://a.example/",
    "https://a.example/\x00",
    "https://a.example/\x7f",
    "https://a.example/\x85",
    "https://a.example/\ud800",
    "https://a.example/" + "x" * 8_000,
    "https://a.example/" + "ü" * 1_000,
    "https://аpple.example/",
    "https://bücher.example/",
    "https://a.example／@evil.example/",
    "https://a。example/",
    "https://ex%61mple.com/",
    "https://a.example%2f@evil.example/",
    "https://a..example/",
    "https://.example/",
    "https://-a.example/",
    "https://a.example:99999/",
    "https://a.example:8o/",
    "https://a.example:",
    "https://[::1",
    "https://[evil]/",
    "https://a.example;evil/",
    "https://" + "a." * 130 + "example/",
]


@pytest.mark.parametrize("url", UNSAFE, ids=[ascii(url)[:50] for url in UNSAFE])
def test_fault_t02_an_unsafe_target_is_refused_when_building_and_when_redirecting(url: str):
    assert target_host(url) is None
    with pytest.raises(Invalid):
        make(Token(Kind.CLICK, DELIVERY, 1, url), KEYS, HOST)
    # A token that we signed when the rule was another.
    data = url.encode("utf-8", "surrogatepass")
    raw = KEYS.current.id + b"\x02" + bytes(13) + bytes(2) + b"\0" + data
    raw += hmac.digest(KEYS.current.secret, tokens._over(HOST) + raw, "sha256")[:16]
    assert read(base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), KEYS, HOST) is None


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://a.example", "a.example"),
        ("HTTP://A.Example.:80?x", "a.example"),
        ("https://medium.example/@anna", "medium.example"),
        ("https://a.example/a b?q=ü#frag", "a.example"),
        ("https://_sip.a-b.example#x", "_sip.a-b.example"),
        ("http://[2001:DB8::1]:8080/", "[2001:db8::1]"),
        ("https://a.example/?u=https://evil.example/%5c", "a.example"),
    ],
)
def test_safe_targets_and_their_hosts(url: str, host: str):
    assert target_host(url) == host


def test_a_location_is_visible_ascii_and_leads_to_the_same_place():
    assert location("https://a.example/x?q=%20&amp;'#~") == "https://a.example/x?q=%20&amp;'#~"
    assert location("https://a.example/ä b?q=€#ü") == "https://a.example/%C3%A4%20b?q=%E2%82%AC#%C3%BC"


@given(targets)
def test_a_location_of_any_safe_target_is_one_field_value(target: str):
    assert all("!" <= char <= "~" for char in location(target))


@pytest.mark.parametrize("id_", ["", "D1", "M01JB2C3D4E5F6G7H8J9K", "D01JB2C3D4E5F6G7H8JIL", "D01JB2C3D4E5F6G7H8J9KX"])
def test_what_is_no_delivery_s_id_is_refused(id_: str):
    with pytest.raises(Invalid):
        make(Token(Kind.OPEN, DeliveryId(id_)), KEYS, HOST)


@pytest.mark.parametrize("said", [{"link": -1}, {"link": 65_536}, {"list": "ü" * 128}])
def test_what_is_beyond_its_bounds_is_refused(said: dict):
    with pytest.raises(Invalid):
        make(Token(Kind.UNSUBSCRIBE, DELIVERY, **said), KEYS, HOST)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("https://Track.Example:8443/x/y", "track.example"),
        ("http://localhost:8026", "localhost"),
        ("track.example.", "track.example"),
        ("track.example.:443", "track.example"),
        ("[::1]:80", "[::1]"),
        ("http://[2001:db8::5]", "[2001:db8::5]"),
        ("", ""),
    ],
)
def test_the_host_of_a_url_or_host_field(text: str, host: str):
    assert host_of(text) == host


def test_a_pixel_s_token_is_short():
    assert len(make(Token(Kind.OPEN, DELIVERY), KEYS, HOST)) <= 48
