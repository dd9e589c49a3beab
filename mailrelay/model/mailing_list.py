"""Mailing lists: what mass mail is about, so that somebody can leave one and keep the others (O15)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from mailrelay.ids import OrgId

LONGEST_NAME = 64
NAME = rf"^[a-z0-9](?:[a-z0-9_-]{{0,{LONGEST_NAME - 2}}}[a-z0-9])?$"
"""Of a list: what may stand in a header field, a URL and a List-Id (RFC 2919 §2) as it is."""
_NAME = re.compile(NAME, re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailingList:
    """One list of an organisation. `label` is what people read, `description` what they get by it."""

    org: OrgId
    name: str
    label: str
    description: str = ""
    created_at: datetime


def is_list_name(text: str) -> bool:
    """Whether a list may have this name."""
    return _NAME.fullmatch(text) is not None
