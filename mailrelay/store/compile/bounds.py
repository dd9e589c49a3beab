"""How much one question reads at most, whatever there is."""

from __future__ import annotations

LOOKED_AT = 2_000
"""Records that one question looks at."""
LOOKED_AT_CLOSELY = 320
"""… where of each mail must be asked whether it may be seen."""
FEW = 20_000
"""Entries of an index that are read to find the records that are looked at."""
FEW_OF_OTHERS = 4_000
"""… where they are of everybody's mail, and the asker's own can be read instead."""
LINKS = 500
"""Addresses of links that are looked through for those with a text in them, and …"""
FEW_CLICKS = 300
"""… clicks on those, and records of these, that are read."""
SCANNED = 100_000
"""… where they are read in the order of the records, and the page ends with them."""
VERY_FEW = 300
QUITE_FEW = 2_000
WORTH = 3
"""A range of so many times the entries of another is read for what is in both, rather than each record looked at."""
COUNTS = 8
"""Ranges whose entries are counted, to choose among them."""
MERGED = 8
"""So many people's mail is read side by side."""
SMALL = 300
"""Records of a module that are as well looked at one after the other."""
