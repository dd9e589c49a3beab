"""An e-mail address as mailrelay stores and compares it.

Parsing is not done here: `smtp.address` reads envelope paths (RFC 5321), `mail.headers` reads header fields (RFC 5322).
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox address.

    `local` is the local part as its owner means it: unquoted, unescaped, case kept, Unicode when SMTPUTF8 was used.
    `domain` is lower-case with A-labels (`xn--…`), without a trailing dot, or an address literal with its brackets.
    """

    local: str
    domain: str

    @property
    def key(self) -> str:
        """What matching and suppression compare: NFC, case-folded local part, `@`, domain.

        RFC 5321 §2.4 lets a local part be case-sensitive; no mailbox provider does, and users write either case (I1, I4).
        """
        local = self.local
        if not local.isascii():
            local = unicodedata.normalize("NFC", local).casefold()
        return f"{local.lower()}@{self.domain}"

    def __str__(self) -> str:
        """`local@domain`, the local part not quoted: for people; `smtp.address.format_path` writes the wire's form."""
        return f"{self.local}@{self.domain}"


ReversePath = Address | None
"""MAIL FROM; None is the null reverse-path `<>`."""
