"""`mailrelay route`: what would happen to a mail to an address now, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from mailrelay.cli.show import pairs, plain, table, when
from mailrelay.cli.talk import Talk, talks


@click.command("route")
@click.argument("address")
@click.option("--from", "sender", default="", help="Whose mail: a user's id or an address.")
@click.option("--job", default="", help="The job that it would be part of.")
@talks
def command(talk: Talk, address: str, sender: str, job: str) -> None:
    """Say what would happen to a mail to ADDRESS now: where it would go, over what, and what stands in its way.

    Nothing is sent. Without --from nothing is said of what depends on the author: their domain, their smart host, their source.

    Example: mailrelay route bob@customer.example --from anna@acme.example
    """
    found = talk.get("/route", address=address, job=job, **{"from": sender})
    talk.show(found, lambda: "\n\n".join(_told(found)))


def _told(one: Mapping[str, Any]) -> Iterator[str]:
    yield plain(f"A mail to {one['address']}{_of(one)} {one['sentence']}.")
    yield _standing(one)
    if one["hosts"]:
        yield table(_hosts(one), "PREFERENCE", "HOST", "ADDRESS", "NOT USED, SINCE")
    if one["hops"]:
        rows = (
            (number, each["host"], each["ip"], _demand(each), _last(each), each["barred"] or "-")
            for number, each in enumerate(one["hops"], start=1)
        )
        yield table(rows, "TRIED", "HOST", "ADDRESS", "TLS DEMANDED", "LAST TIME", "NOTHING MAY GO, SINCE")


def _of(one: Mapping[str, Any]) -> str:
    sender = f" from {one['sender']}" if one["sender"] else ""
    return f"{sender} in the job {one['job']}" if one["job"] else sender


def _standing(one: Mapping[str, Any]) -> str:
    way, quota, policy = one["way"], one["quota"], one["policy"]
    suppression, absence, suspension = one["suppression"], one["absence"], one["suspension"]
    number = f"{'' if one['waiting_complete'] else 'more than '}{one['waiting']:,}"
    waits = "nothing" if not one["waiting"] else f"{number} deliveries, the first due {when(one['next_due'])}"
    return pairs(
        (
            ("Route", f"{one['route']}, {way['site']}" + (f" from {way['source']}" if way["source"] else "")),
            ("Smart host", way["smart_host"]),
            ("Limits", _limits(way)),
            ("Waiting", waits if not one["parked_until"] else f"{waits}; parked until {when(one['parked_until'])}"),
            ("Parked", one["parked_because"]),
            (
                "MTA-STS",
                policy
                and f"{policy['mode']}, fetched {when(policy['fetched_at'])}, until {when(policy['expires_at'])}",
            ),
            (
                "Suppressed",
                suppression and f"{suppression['reason'].replace('_', ' ')} since {when(suppression['since'])}",
            ),
            ("Absent", absence and ("gone for good" if absence["gone"] else f"until {when(absence['until'])}")),
            ("Suspended", suspension and f"{suspension['scope']} {suspension['name']}: {suspension['reason']}"),
            (
                "Quota",
                quota
                and f"{quota['left']} of {quota['limit']} left ({quota['kind']}), anew {when(quota['resets_at'])}",
            ),
        )
    )


def _limits(way: Mapping[str, Any]) -> str:
    told = f"{way['connections_used']} of {way['connections_allowed']} connections in use"
    if way["connections_allowed"] < way["connections_most"]:
        told += f" (at most {way['connections_most']})"
    told += f", {way['messages_per_connection']} messages each"
    if way["rate"]:
        told += f", {way['rate']:g} messages a minute"
    if way["paused_until"]:
        told += f"; paused until {when(way['paused_until'])}"
    return told + (f": {way['because']}" if way["because"] else "")


def _hosts(one: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    for host in one["hosts"]:
        preference = "-" if host["preference"] is None else host["preference"]
        if not host["addresses"]:
            yield preference, host["host"], "-", host["why"]
        for address in host["addresses"]:
            yield preference, host["host"], address["ip"], address["why"] or "-"


def _demand(hop: Mapping[str, Any]) -> str:
    if hop["setting"] != "opportunistic":
        return f"{hop['setting']} (our settings)"
    if hop["demand"] == "none":
        return "none"
    return f"{hop['demand']}, {'enforced' if hop['enforced'] else 'being tested'}"


def _last(hop: Mapping[str, Any]) -> str:
    if not hop["last"]:
        return "not yet"
    told = f"{hop['last']} {hop['last_protocol']}".rstrip()
    return f"{told}: {hop['last_reason']}" if hop["last_reason"] else told
