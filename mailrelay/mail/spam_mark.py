"""What a filter on the way wrote into a mail: that it is spam. Such a mail is never answered (RFC 3834 §2)."""

from __future__ import annotations

import re

from mailrelay.mail.message import ParsedMessage

_YES = re.compile(r"\s*(?:yes|true|spam|1)\b", re.IGNORECASE)
_FLAGS = ("X-Spam-Flag", "X-Spam-Status", "X-Spam", "X-Spambayes-Classification", "X-DSPAM-Result")
_ACTION = re.compile(r"\s*(?:reject|add header|rewrite subject|quarantine)\b", re.IGNORECASE)
_LEVEL = re.compile(r"\s*([5-9])\s*\Z")
"""Exchange's spam confidence level: from 5 on it goes to the junk folder."""


def spam_mark(parsed: ParsedMessage) -> str:
    """The field that says so, `X-Spam-Flag: YES` say, or ""."""
    checks = [(name, _YES) for name in _FLAGS]
    checks += [("X-Rspamd-Action", _ACTION), ("X-MS-Exchange-Organization-SCL", _LEVEL)]
    for name, bad in checks:
        for value in parsed.headers.all(name):
            if bad.match(value):
                return f"{name}: {' '.join(value.split())[:60]}"
    return ""
