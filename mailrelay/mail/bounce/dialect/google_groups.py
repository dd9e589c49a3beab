"""Google Groups: a group that is gone or closed, in any language, which only the link to its help gives away."""

from __future__ import annotations

import re

from mailrelay.mail.bounce import lines
from mailrelay.mail.bounce.report import Trouble
from mailrelay.mail.message import ParsedMessage
from mailrelay.model.feedback import Action

_LINK = re.compile(
    r"https?://(?:groups\.google\.com/support|support\.google\.com/a/[^\s]{1,80}/bin/topic\.py|support\.google\.com/groups)"
)


def recognise(parsed: ParsedMessage) -> tuple[Trouble, ...] | None:
    """One Trouble, its recipient that of X-Failed-Recipients or the returned mail's; None for any other mail."""
    if "daemon" not in (parsed.headers.get("From") or "").lower():
        return None
    text = lines.said(parsed, "google.com")
    if text is None or not _LINK.search(text):
        return None
    named = parsed.addresses("X-Failed-Recipients").addresses
    # The group's name alone stands in the text; the returned mail says the address.
    return (lines.trouble(str(named[0]) if named else lines.only_recipient(parsed), text, Action.FAILED),)
