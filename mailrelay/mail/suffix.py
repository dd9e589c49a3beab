"""Where one owner's domain names begin: the Mozilla public suffix list (`example.co.uk` of `mx1.mail.example.co.uk`)."""

from __future__ import annotations

from functools import cache, lru_cache

import publicsuffixlist


@lru_cache(maxsize=10_000)
def registrable(domain: str) -> str:
    """The name that its owner registered, of a lower-case name in A-labels; the name itself where the list knows no owner."""
    return _suffixes().privatesuffix(domain) or domain


@cache
def _suffixes() -> publicsuffixlist.PublicSuffixList:
    return publicsuffixlist.PublicSuffixList()
