"""What hosts' TLS was like the last time, kept over restarts. Of the installation, not of an organisation (O11)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, delete, select

from mailrelay.clock import from_micros, to_micros
from mailrelay.model.tls import HostTls, TlsLevel
from mailrelay.store.base import Tx
from mailrelay.store.tables import tls_memory

_KEPT = 90 * 86_400_000_000


def get(tx: Tx, host: str, ip: str, port: int) -> HostTls | None:
    """What is remembered of a host at an address; None when nothing is."""
    row = tx.execute(
        select(tls_memory).where(tls_memory.c.host == host, tls_memory.c.ip == ip, tls_memory.c.port == port)
    ).first()
    return None if row is None else _host(row)


def of_hosts(tx: Tx, hosts: Sequence[str]) -> tuple[HostTls, ...]:
    """All that is remembered of these hosts, by host and address."""
    wanted = select(tls_memory).where(tls_memory.c.host.in_(hosts)).order_by(tls_memory.c.host, tls_memory.c.ip)
    return tuple(_host(row) for row in tx.execute(wanted))


def list_all(
    tx: Tx, *, after: tuple[str, str, int] | None, limit: int, level: TlsLevel | None = None
) -> tuple[HostTls, ...]:
    """Hosts by name, of one level or all, from behind (host, ip, port) on."""
    key = (tls_memory.c.host, tls_memory.c.ip, tls_memory.c.port)
    wanted = select(tls_memory).order_by(*key).limit(limit)
    if level is not None:
        wanted = wanted.where(tls_memory.c.level == level)
    if after is not None:
        host, ip, port = after
        wanted = wanted.where(
            (key[0] > host) | ((key[0] == host) & ((key[1] > ip) | ((key[1] == ip) & (key[2] > port))))
        ).where(key[0] >= host)
    return tuple(_host(row) for row in tx.execute(wanted))


def put(tx: Tx, seen: Sequence[HostTls], *, now: datetime) -> None:
    """Remember these hosts. What has not been seen for 90 days is forgotten."""
    for one in sorted(seen, key=lambda one: (one.host, one.ip, one.port)):
        values = {
            "level": one.level,
            "protocol": one.protocol,
            "reason": one.reason,
            "since": to_micros(one.since),
            "seen_at": to_micros(one.seen_at),
            "look_at": None if one.look_at is None else to_micros(one.look_at),
        }
        tx.execute(
            tx.insert(tls_memory)
            .values(host=one.host, ip=one.ip, port=one.port, **values)
            .on_conflict_do_update(index_elements=["host", "ip", "port"], set_=values)
        )
    tx.execute(delete(tls_memory).where(tls_memory.c.seen_at < to_micros(now) - _KEPT))


def forget(tx: Tx, host: str) -> int:
    """Forget a host, so that the next connection tries the best again; how many of its addresses were remembered."""
    return len(tx.execute(delete(tls_memory).where(tls_memory.c.host == host).returning(tls_memory.c.ip)).all())


def _host(row: Row[*tuple[object, ...]]) -> HostTls:
    at = row._mapping
    return HostTls(
        host=at["host"],
        ip=at["ip"],
        port=at["port"],
        level=TlsLevel(at["level"]),
        protocol=at["protocol"],
        reason=at["reason"],
        since=from_micros(at["since"]),
        seen_at=from_micros(at["seen_at"]),
        look_at=None if at["look_at"] is None else from_micros(at["look_at"]),
    )
