"""A daemon that one mail kills: in place of `tests.crash.relay`'s own child, it prepares with `poison.deadly` (Q03)."""

from __future__ import annotations

from pathlib import Path

from mailrelay.outbound.letters import LetterMaker
from tests.crash import relay
from tests.support import poison

_child = relay._child


def child(config: Path) -> None:
    """Run the daemon."""
    defaults = LetterMaker.__init__.__kwdefaults__
    assert defaults is not None
    defaults["make"] = poison.deadly
    _child(config)
