"""SPF, DKIM and DMARC of an arrival, by our own questions and within a time (I2, RFC 7208 §4.6.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import datetime
from typing import TypeVar

from mailrelay.dns.resolver import Resolver, ask
from mailrelay.mail import dkim, dmarc, spf
from mailrelay.mail.dmarc import DmarcResult
from mailrelay.mail.spf import SpfResult
from mailrelay.model.address import Address, ReversePath
from mailrelay.model.message import AuthVerdicts, DkimResult, Verdict

TIMEOUT = 20.0
"""Seconds for all of it: RFC 7208 §4.6.4."""

_THREADED_BYTES = 262_144
"""A message from this size on is hashed on a worker thread."""

_LATE = "DNS took too long"
T = TypeVar("T")


async def verify(
    raw: bytes,
    *,
    peer_ip: str,
    helo: str,
    mail_from: ReversePath,
    header_sender: Address | None,
    resolver: Resolver,
    now: datetime,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 (what is late is a verdict, not an exception)
) -> AuthVerdicts:
    """The verdicts on `raw` as it came from `peer_ip`. What `timeout` seconds did not settle is temperror; never raises.

    `header_sender` is the address of From (or Sender), None when there is none; then DMARC is none and nothing aligns.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    domain = mail_from.domain if mail_from else helo.lower()
    spf_result, dkim_results = await asyncio.gather(
        _until(
            deadline, ask(spf.check(peer_ip, mail_from, helo), resolver), SpfResult(Verdict.TEMPERROR, domain, _LATE)
        ),
        _until(
            deadline,
            ask(dkim.verify(raw, now=now), resolver, threaded=len(raw) >= _THREADED_BYTES),
            (DkimResult(Verdict.TEMPERROR, "", "", _LATE),),
        ),
    )
    dmarc_result = await _until(
        deadline,
        ask(dmarc.evaluate(header_sender.domain if header_sender else "", spf_result, dkim_results), resolver),
        DmarcResult(Verdict.TEMPERROR, "", aligned=False, organisational="", reason=_LATE),
    )
    return AuthVerdicts(
        spf=spf_result.verdict,
        spf_domain=spf_result.domain,
        spf_reason=spf_result.reason,
        dkim=dkim_results,
        dmarc=dmarc_result.verdict,
        dmarc_policy=dmarc_result.policy,
        aligned=dmarc_result.aligned,
    )


async def _until(deadline: float, work: Awaitable[T], late: T) -> T:
    try:
        async with asyncio.timeout_at(deadline):
            return await work
    except TimeoutError:
        return late
