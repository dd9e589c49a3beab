"""Signs of life of the processes that take work under a lease: a number that grows while one lives (Q05).

A lease ends when its process gives no sign for so long by the clock of whoever watches, a monotonic one: no step of a wall clock ends
a lease or makes one last (Q01).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Executable, delete, select, text

from mailrelay.clock import to_micros
from mailrelay.ids import NodeId
from mailrelay.store.base import InsertInto, Tx, for_both
from mailrelay.store.tables import delivery, node

_SENDING = text("state = 'sending'")


def beat(tx: Tx, name: NodeId, *, at: datetime) -> None:
    """Give a sign of life."""
    tx.execute(_BEAT[tx.dialect], {"name": name, "beat": 1, "at": to_micros(at)})


def _beat(insert: InsertInto) -> Executable:
    row = insert(node)
    return row.on_conflict_do_update(index_elements=["name"], set_={"beat": node.c.beat + 1, "at": row.excluded.at})


_BEAT = for_both(_beat)


def signs(tx: Tx) -> Mapping[NodeId, int]:
    """The last sign of every process that was seen or holds deliveries; -1 where there never was one."""
    found = {NodeId(row.name): int(row.beat) for row in tx.execute(select(node.c.name, node.c.beat))}
    last = ""
    # Each step is one look into the index, however many deliveries a process holds.
    holders = select(delivery.c.lease_node).where(_SENDING).order_by(delivery.c.lease_node).limit(1)
    while (name := tx.execute(holders.where(delivery.c.lease_node > last)).scalar()) is not None:
        last = name
        found.setdefault(NodeId(name), -1)
    return found


def leave(tx: Tx, name: NodeId) -> None:
    """A process has ended, or is dead and nothing of its is left."""
    tx.execute(delete(node).where(node.c.name == name))
