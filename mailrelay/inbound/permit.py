"""May this sender use this dropbox: asked in the dialogue where the organisation prefers a refusal to a hold (I2, I24)."""

from __future__ import annotations

from datetime import datetime

from mailrelay.dns.resolver import Resolver
from mailrelay.inbound.recipient import Target
from mailrelay.inbound.verify import verify
from mailrelay.mail import message, participants
from mailrelay.model.address import ReversePath
from mailrelay.model.envelope import Peer
from mailrelay.model.message import Verdict
from mailrelay.model.organisation import User
from mailrelay.model.reply import Reply, reply
from mailrelay.model.settings import SenderCheck, Unpermitted
from mailrelay.smtp.escape import shown

_UNSURE = reply(
    451, "4.4.3", "The sender's domain could not be looked up for now; the message is not taken, try again later"
)


def may_refuse(target: Target) -> bool:
    """Whether a mail to this target can be refused for its sender."""
    return (
        target.settings is not None
        and target.settings.unpermitted is Unpermitted.REFUSE
        and target.settings.sender_check is not SenderCheck.TOKEN
    )


async def refusal(
    target: Target,
    owner: User,
    raw: bytes,
    *,
    head: bytes,
    peer: Peer,
    mail_from: ReversePath,
    resolver: Resolver,
    now: datetime,
    timeout: float,  # noqa: ASYNC109 (what is late is a verdict)
) -> Reply | None:
    """Why a mail may not use a target of which `may_refuse` holds, or None; `owner` is the dropbox's user.

    `raw` is the mail as kept, `head` its header as sent.
    """
    sender = participants.header_sender(message.parse(head))
    if sender is None:
        return reply(
            550,
            "5.7.1",
            "The message names no single author in From; send it from one of the dropbox user's own addresses",
        )
    if sender.key not in {address.key for address in owner.addresses}:
        return reply(
            550,
            "5.7.1",
            f"{shown(str(sender))} is not an address of this dropbox's user; send from one of the user's own addresses, or "
            "have this one added to them in the CRM's mail settings",
        )
    if target.settings is None or target.settings.sender_check is not SenderCheck.AUTHENTICATED:
        return None
    verdicts = await verify(
        raw,
        peer_ip=peer.ip,
        helo=peer.helo,
        mail_from=mail_from,
        header_sender=sender,
        resolver=resolver,
        now=now,
        timeout=timeout,
    )
    if verdicts.aligned:
        return None
    if Verdict.TEMPERROR in (verdicts.spf, verdicts.dmarc, *(one.verdict for one in verdicts.dkim)):
        return _UNSURE
    return reply(
        550,
        "5.7.1",
        f"{shown(str(sender))} could not be verified: neither SPF nor DKIM passes for its domain; send through your own mail "
        "server, or ask your administrator",
    )
