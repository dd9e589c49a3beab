"""Who opened or clicked: a person, a machine, or nobody can tell (K1, T04, T05). Pure; all hits of a delivery are judged together.

What a machine does gives it away: it asks with HEAD, it says so, it comes from where only machines are, at once after the delivery, to
many links in a moment, or to the one that no person sees. What looks like a browser and does nothing of it is a person. The names and
networks are data (`data/*.toml`); `VERSION` grows with them, so that what was judged before can be judged again.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from mailrelay.model.hit import By, HitKind, Judged, RawHit

_RULES = 2
"""Of this module; raised with every change of what it decides."""
TOO_SOON = timedelta(seconds=2)
"""After the next hop took the mail nobody has read it yet; before that, only what it scans it with."""
AT_ONCE = timedelta(seconds=2)
"""In which a person does not follow MANY links …"""
MANY = 3
A_MOMENT = timedelta(milliseconds=500)
"""… nor two."""
CROWD = 3
"""So many clients at once are one scanner with many addresses; of fewer each is judged by what it does itself."""
BESIDE = timedelta(minutes=10)
"""How long what a machine's client does besides is a machine's too."""

_APPLE = "Mozilla/5.0"
# A browser, or a mail program that shows HTML, names the system that it runs on.
_BROWSER = re.compile(
    r"^(?:Mozilla/\d|Opera/\d).*\([^)]*(?:Windows|Macintosh|Mac OS|iPhone|iPad|Linux|X11|Android|CrOS|FreeBSD|OpenBSD|compatible; MSIE)"
    r"|\b(?:Thunderbird|AppleMail|Apple ?Mail|Outlook|Evolution|KMail|Geary|Betterbird|eM Client|MailMate|Airmail|Postbox|The Bat|Lotus-Notes"
    r"|Superhuman|Spark|K-9 ?Mail|FairEmail|BlueMail|Mailspring)\b",
    re.IGNORECASE | re.DOTALL,
)
_PREFETCH = {
    "sec-purpose": ("prefetch", "prerender", "preview"),
    "purpose": ("prefetch", "preview", "prerender"),
    "x-purpose": ("prefetch", "preview", "instant"),
    "x-moz": ("prefetch",),
    "sec-fetch-purpose": ("prefetch",),
}
_MACHINES = frozenset({"scanner", "library", "headless", "probe"})


@dataclass(frozen=True, slots=True)
class _Known:
    """Somebody whom the data name, and what they are."""

    who: str
    kind: str


def judge(hits: Sequence[RawHit], sent_at: datetime | None) -> tuple[Judged, ...]:
    """What each of a delivery's hits is taken for, in their order; `sent_at` is when the next hop took the mail, None unknown.

    Later hits may make machine's of earlier ones, so that all are given each time. Reasons are words for people and programs:
    `method:HEAD`, `agent:barracuda`, `network:mimecast`, `too_soon`, …; a person's, too, says why.
    """
    alone = [_alone(hit, sent_at) for hit in hits]
    in_time = sorted(range(len(hits)), key=lambda place: hits[place].at)
    by_place = dict(zip(in_time, _together([hits[place] for place in in_time]), strict=True))
    together = [by_place[place] for place in range(len(hits))]
    return tuple(
        Judged(by=By.MACHINE, reasons=(*(reasons if by is By.MACHINE else ()), *more), rules=version())
        if more
        else Judged(by=by, reasons=reasons, rules=version())
        for (by, reasons), more in zip(alone, together, strict=True)
    )


@cache
def version() -> int:
    """Of the rules and their data together: it only grows."""
    return _RULES + int(_data("agents")["version"]) + int(_data("networks")["version"])


def _alone(hit: RawHit, sent_at: datetime | None) -> tuple[By, tuple[str, ...]]:
    """What a hit by itself is taken for."""
    agent, network = _agent(hit.agent), _network(hit.ip)
    signs = (*_by_what_it_does(hit, sent_at), *_by_who_it_is(hit, agent, network))
    if signs:
        return By.MACHINE, signs
    if agent is not None and agent.kind == "proxy":
        # It asks when its reader opens the mail: who that is stays hidden, but somebody did.
        return By.PERSON, (f"image_proxy:{agent.who}",)
    where = () if network is None else (f"network:{network.who}",)
    if not hit.agent.strip():
        return By.UNKNOWN, ("no_agent", *where)
    if not _BROWSER.search(hit.agent):
        return By.UNKNOWN, ("unknown_agent", *where)
    if hit.kind is HitKind.OPEN and network is not None and network.kind == "relay":
        # A mail program behind Mail Privacy Protection, or a browser behind the relay: the one loads unread mail, too.
        return By.UNKNOWN, where
    return By.PERSON, ("browser", *where)


def _by_what_it_does(hit: RawHit, sent_at: datetime | None) -> Iterator[str]:
    """Why a hit is a machine's, by how and when it came."""
    if hit.kind is HitKind.DECOY:
        yield "decoy"
    if hit.method != "GET":
        yield f"method:{hit.method[:12]}"
    said = dict(hit.headers)
    if any(word in said.get(name, "").lower() for name, words in _PREFETCH.items() for word in words):
        yield "prefetch"
    if sent_at is not None and hit.at - sent_at < TOO_SOON:
        yield "too_soon"


def _by_who_it_is(hit: RawHit, agent: _Known | None, network: _Known | None) -> Iterator[str]:
    """Why a hit is a machine's, by what it says of itself and where it comes from."""
    said = hit.agent.strip()
    if agent is not None and (agent.kind in _MACHINES or (agent.kind == "proxy" and hit.kind is not HitKind.OPEN)):
        yield f"agent:{agent.who}"
    if said == _APPLE:
        # Mail Privacy Protection loads every picture of every mail, and says no more of itself than that.
        yield "agent:apple_mail_privacy"
    if not said and hit.kind is not HitKind.OPEN:
        yield "no_agent"
    if network is not None and network.kind == "scanner":
        yield f"network:{network.who}"


def _together(hits: Sequence[RawHit]) -> list[tuple[str, ...]]:
    """For each hit, oldest first, why it is a machine's, seen beside the others; nothing where that does not make it one."""
    at_once = _at_once(hits)
    at_decoys = _at_decoys(hits)
    signs: dict[tuple[str, str], dict[str, list[datetime]]] = {}  # by client and sign, when: in order
    for index, hit in enumerate(hits):
        for sign, shown in (
            ("decoy", hit.kind is HitKind.DECOY),
            ("head", hit.method != "GET"),
            ("many_links", index in at_once),
        ):
            if shown:
                signs.setdefault(_client(hit), {}).setdefault(sign, []).append(hit.at)
    found: list[tuple[str, ...]] = []
    for index, hit in enumerate(hits):
        reasons: list[str] = []
        if hit.kind is not HitKind.DECOY:
            if index in at_once:
                reasons.append("many_links_at_once")
            if index in at_decoys:
                reasons.append("beside_decoy")
            if hit.method == "GET" and not reasons:
                mine = signs.get(_client(hit), {})
                reasons.extend(f"same_client:{sign}" for sign in sorted(mine) if _within(mine[sign], hit.at, BESIDE))
        found.append(tuple(reasons))
    return found


def _at_once(hits: Sequence[RawHit]) -> set[int]:
    """The places of clicks that are among too many different links in too short a time."""
    clicks = [index for index, hit in enumerate(hits) if hit.kind is not HitKind.OPEN]
    found: set[int] = set()
    start = 0
    for end, index in enumerate(clicks):
        while hits[index].at - hits[clicks[start]].at > AT_ONCE:
            start += 1
        within = clicks[start : end + 1]
        for some in _by_one(hits, within):
            if len({hits[one].link for one in some}) >= MANY:
                found.update(some)
        for some in _by_one(hits, [one for one in within if hits[index].at - hits[one].at <= A_MOMENT]):
            if len({hits[one].link for one in some}) > 1:
                found.update(some)
    return found


def _at_decoys(hits: Sequence[RawHit]) -> set[int]:
    """The places of what is done about when the hidden link is followed, by whoever follows it."""
    found: set[int] = set()
    times = [hit.at for hit in hits]
    for decoy, one in enumerate(hits):
        if one.kind is HitKind.DECOY:
            about = _within(times, one.at, AT_ONCE)
            found.update(*(some for some in _by_one(hits, about) if decoy in some))
    return found


def _within(times: Sequence[datetime], at: datetime, span: timedelta) -> range:
    """The places of those of `times`, which are in order, that are as near to a moment."""
    return range(bisect_left(times, at - span), bisect_right(times, at + span))


def _by_one(hits: Sequence[RawHit], some: Sequence[int]) -> list[list[int]]:
    """What is done at once, by who does it: all by one scanner, or by each client what is its own.

    So whoever reads the mail while somebody else's scanner looks at it stays a person.
    """
    clients: dict[tuple[str, str], list[int]] = {}
    for one in some:
        clients.setdefault(_client(hits[one]), []).append(one)
    return [list(some)] if len(clients) >= CROWD else list(clients.values())


def _client(hit: RawHit) -> tuple[str, str]:
    return hit.ip, hit.agent


@lru_cache(maxsize=4096)
def _agent(text: str) -> _Known | None:
    lower = text.lower()
    return next((known for name, known in _agents() if name in lower), None)


@lru_cache(maxsize=4096)
def _network(ip: str) -> _Known | None:
    """Whose network an address is in, the smallest that is named; None for nobody's, and for what is no address."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    bits = address.max_prefixlen
    for length, known in _networks()[address.version]:
        found = known.get(int(address) >> (bits - length))
        if found is not None:
            return found
    return None


@cache
def _agents() -> tuple[tuple[str, _Known], ...]:
    return tuple(
        (name.lower(), _Known(one["who"], one["is"])) for one in _data("agents")["agent"] for name in one["names"]
    )


@cache
def _networks() -> dict[int, tuple[tuple[int, dict[int, _Known]], ...]]:
    """By version of IP, the networks of each prefix length, longest first."""
    tables: dict[int, dict[int, dict[int, _Known]]] = {4: {}, 6: {}}
    for one in _data("networks")["network"]:
        for text in one["ranges"]:
            network = ipaddress.ip_network(text)
            start = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
            table = tables[network.version].setdefault(network.prefixlen, {})
            table[start] = _Known(one["who"], one["is"])
    return {family: tuple(sorted(by_length.items(), reverse=True)) for family, by_length in tables.items()}


@cache
def _data(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("data", f"{name}.toml").read_text(encoding="utf-8"))
