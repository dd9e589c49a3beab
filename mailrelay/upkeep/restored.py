"""The first start on a restored backup: what was queued then may have left since (D14).

Single mail goes, at most once more than it did; mass mail is held until somebody says whether it went (D11). The list
of suppressed addresses is of the same instant as the queue: whoever was suppressed after it has to be entered again before.
"""

from __future__ import annotations

from mailrelay import log
from mailrelay.clock import Clock
from mailrelay.store import restored
from mailrelay.store.base import Store
from mailrelay.upkeep.folder import DataFolder


async def begin(store: Store, folder: DataFolder, clock: Clock) -> None:
    """Hold what must not go twice, if the folder is a backup that nobody has started on; repeated until it was done once."""
    made = folder.backed_up
    if not made:
        return
    now = clock.now()
    while await store.write(restored.put_back, now=now):
        pass
    while await store.write(restored.hold_mass_mail, now=now):
        pass
    held, due = await store.read(restored.counts, now=now)
    log.get().warning("store.restored", backup=made, held=held, due=due)
    folder.forget_backup()
