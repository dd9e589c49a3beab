"""The bytes of a mail, as much of them as its reader may see (I16)."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from mailrelay.mail import secret_address
from mailrelay.store import dropboxes
from mailrelay.store.base import Tx
from mailrelay.store.visibility import Viewer


@dataclass(frozen=True, slots=True, kw_only=True)
class Shows:
    """What of a mail's bytes is its viewer's to see (I16): all, or without the Bcc and the secrets that are not to `keep`."""

    all: bool
    bcc: bool
    keep: frozenset[str]

    def of(self, raw: bytes) -> bytes:
        """The bytes as they are shown."""
        return raw if self.all else secret_address.without(raw, keep=self.keep, bcc=not self.bcc)


def shows(tx: Tx, viewer: Viewer, *, bcc: bool) -> Shows:
    """What a viewer is shown of mail that they may see; `bcc`: who its Bcc are too."""
    return Shows(all=viewer.all, bcc=bcc, keep=dropboxes.tokens(tx, viewer.org, viewer.user))


def attached(data: bytes, name: str) -> Response:
    """A mail to be saved."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.eml"', "X-Content-Type-Options": "nosniff"}
    return Response(data, media_type="message/rfc822", headers=headers)
