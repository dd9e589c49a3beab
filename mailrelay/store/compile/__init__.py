"""A question about records and their mail → SQL, whose cost does not grow with the mail and the records that there are (K2).

Records are looked at in the order of their ids. Which ones: those that are in each short range of an index that there is (`sources`);
those that a longer range leads to in that order, of whose entries only the fitting are taken (`scans`); else all of the module. `ways`
chooses. So many at a time are looked at at most (`bounds`): a page may then be short, even empty, and not be the last. That is for
conditions which are common, and seldom meet. Of each record that is looked at the `conditions` are asked.
"""

from __future__ import annotations

from mailrelay.store.compile.conditions import Terms
from mailrelay.store.compile.page import Found, Hit, find

__all__ = ["Found", "Hit", "Terms", "find"]
