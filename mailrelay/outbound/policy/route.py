"""From a recipient's domain to the addresses to try, by asking DNS (RFC 5321 §5.1, RFC 7505, N06, N07)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from mailrelay.mail.suffix import registrable
from mailrelay.model.delivery import Deferred, Refused, Stage
from mailrelay.model.lookup import Dialogue, LookupStatus, MxRecord, Question, RecordType
from mailrelay.model.network import is_public
from mailrelay.model.reply import Reply, reply
from mailrelay.smtp import codes

MAX_HOSTS = 10
"""MX hosts that are looked at, best first; lists of hundreds exist only to keep us busy (N06)."""
MAX_ADDRESSES = 12
_PER_HOST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One address to connect to; `host` is the name whose it is, or the address itself.

    Lower `preference` goes first; equal ones are as good as each other (RFC 5321 §5.1).
    """

    host: str
    ip: str
    preference: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnHost:
    """Who we are, so that mail does not go round in circles."""

    names: Collection[str]
    addresses: Collection[str]


Shuffle = Callable[[list[MxRecord]], None]
NoRoute = Deferred | Refused
Targets = tuple[Target, ...]


def to_domain(domain: str, *, own: OwnHost, allow_private: bool, shuffle: Shuffle) -> Dialogue[Targets | NoRoute]:
    """The addresses that take mail for `domain` (A-labels or an address literal), in the order to try them, or why there are none.

    `shuffle` orders hosts of equal preference. Private and loopback addresses are left out unless `allow_private`.
    """
    if domain.startswith("["):
        ip = _literal(domain)
        return _fit([Target(host=ip, ip=ip)], domain, own=own, allow_private=allow_private)
    answer = yield Question(RecordType.MX, domain)
    if answer.status is LookupStatus.TEMPORARY:
        return _dns_failed(f"the MX records of {domain}", answer.detail)
    if answer.status is LookupStatus.NO_NAME:
        return refused(550, "5.1.2", f"The domain {domain} does not exist; check the address")
    records: Sequence[MxRecord] = [MxRecord(0, domain)]  # RFC 5321 §5.1: without an MX record the domain is its own
    if answer.mx:
        records = [record for record in answer.mx if record.host]
        if not records:
            return Refused(reply=codes.NULL_MX, stage=Stage.RESOLVE, by_us=True)
        records = _before_ourselves(_ordered(records, shuffle), own)
        if not records:
            return _loop(domain)
    targets, failure, ours = yield from _targets(records, own)
    if not targets and failure:
        return _dns_failed(f"the mail servers of {domain}", failure)
    if not targets and ours:
        return _loop(domain)
    if not targets:
        return refused(550, "5.4.4", f"No server takes mail for {domain}: its name has no address; check the address")
    return _fit(targets[:MAX_ADDRESSES], domain, own=own, allow_private=allow_private)


def _targets(records: Sequence[MxRecord], own: OwnHost) -> Dialogue[tuple[Sequence[Target], str, bool]]:
    """The addresses of hosts in the order to try them, why DNS failed for some, and whether one of them is ourselves."""
    preference = {record.host: record.preference for record in reversed(records)}
    targets: list[Target] = []
    failure = ""
    for host in list(dict.fromkeys(record.host for record in records))[:MAX_HOSTS]:
        found, why = yield from addresses(host)
        failure = failure or why
        if any(is_ours(target, own) for target in found):
            # RFC 5321 §5.1: by whatever name, that is us; whoever is no better would only give it back.
            return [one for one in targets if one.preference < preference[host]], failure, True
        targets += [replace(target, preference=preference[host]) for target in found]
        if len(targets) >= MAX_ADDRESSES:
            break
    return targets, failure, False


def site_of(domain: str) -> Dialogue[str]:
    """What shares limits with `domain`: the registrable domain of its best MX host, or its own; where DNS is silent, itself.

    An address literal is a site of its own. So all domains whose mail one provider takes are one site.
    """
    if domain.startswith("["):
        return _literal(domain)
    answer = yield Question(RecordType.MX, domain)
    if answer.status is LookupStatus.TEMPORARY:
        return domain
    best = min((record.preference, record.host) for record in answer.mx)[1] if answer.mx else domain
    return registrable(best or domain)


def to_host(host: str) -> Dialogue[Targets | NoRoute]:
    """The addresses of a configured host. It is ours to mend when there are none, so nothing is refused for it (N11)."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        found, why = yield from addresses(host)
        if found:
            return found
        detail = why or "the name has no address"
        return _dns_failed(f"the smart host {host}", detail)
    return (Target(host=host, ip=host),)


def addresses(host: str) -> Dialogue[tuple[Targets, str]]:
    """A host's addresses, IPv6 first, at most four, and why DNS failed for some ("" when it did not)."""
    found: list[Target] = []
    failure = ""
    for kind in (RecordType.AAAA, RecordType.A):
        answer = yield Question(kind, host)
        if answer.status is LookupStatus.TEMPORARY:
            failure = answer.detail or "no answer"
        found += [Target(host=host, ip=text) for text in answer.texts[:_PER_HOST]]
    both = [target for target in found if ":" in target.ip][: _PER_HOST // 2]
    return (*both, *[target for target in found if ":" not in target.ip][: _PER_HOST - len(both)]), failure


def refused(code: int, status: str, text: str) -> Refused:
    """A refusal of ours, before anybody was asked."""
    return Refused(reply=reply(code, status, text), stage=Stage.RESOLVE, by_us=True)


def _ordered(records: Sequence[MxRecord], shuffle: Shuffle) -> list[MxRecord]:
    # RFC 5321 §5.1: lowest preference first; equal ones in random order, to spread the load.
    mixed = list(records)
    shuffle(mixed)
    return sorted(mixed, key=lambda record: record.preference)


def _before_ourselves(records: list[MxRecord], own: OwnHost) -> list[MxRecord]:
    # RFC 5321 §5.1: a server that finds itself in the list drops itself and all that are not better.
    mine = [record.preference for record in records if record.host in own.names]
    return [record for record in records if record.preference < min(mine)] if mine else records


def _fit(targets: Sequence[Target], domain: str, *, own: OwnHost, allow_private: bool) -> Targets | NoRoute:
    elsewhere = [target for target in targets if not is_ours(target, own)]
    if not elsewhere:
        return _loop(domain)
    fit = tuple(target for target in elsewhere if allow_private or is_public(target.ip))
    if not fit:
        return refused(550, "5.4.4", f"Mail for {domain} would go to a private address, which is not allowed here")
    return fit


def is_ours(target: Target, own: OwnHost) -> bool:
    """Whether somebody who connects there comes to ourselves."""
    if target.ip in own.addresses:
        return True
    try:
        mapped = ipaddress.IPv6Address(target.ip).ipv4_mapped
    except ValueError:
        return False
    return mapped is not None and str(mapped) in own.addresses


def _literal(domain: str) -> str:
    return domain.strip("[]").removeprefix("IPv6:")


def _loop(domain: str) -> Refused:
    return refused(554, "5.4.6", f"Mail for {domain} would come back to this server: a mail loop; check its MX records")


def _dns_failed(what: str, detail: str) -> Deferred:
    sentence: Reply = reply(451, "4.4.3", f"DNS gave no answer for {what}: {detail}")
    return Deferred(reply=sentence, stage=Stage.RESOLVE)
