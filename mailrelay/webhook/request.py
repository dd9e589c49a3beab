"""One signed request to a receiver, and what its answer means (W04, W05)."""

from __future__ import annotations

import re
from datetime import timedelta

from mailrelay.clock import Clock
from mailrelay.dns.outgoing import Answered, NoAnswer, Outgoing
from mailrelay.ids import WebhookId
from mailrelay.model.reach import Url
from mailrelay.model.webhook import Claimed, Result, SigningSecrets, Webhook, event_id
from mailrelay.outbound.vault import Unreadable, Vault
from mailrelay.smtp.escape import escape
from mailrelay.webhook import payload, retry, sign

_MOST_SAID = 1000
_SECRET = re.compile(r"(?i)whsec_[^\s\"']+|\b(bearer|basic)\s+[^\s\"']+|[A-Za-z0-9+/_=-]{24,}")
_HIDDEN = "[…]"


class Poster:
    """Makes the requests of webhooks."""

    def __init__(self, outgoing: Outgoing, vault: Vault, clock: Clock, *, timeout: float) -> None:
        """`timeout` in seconds, of a request from the dialling on to the answer."""
        self._outgoing = outgoing
        self._vault = vault
        self._clock = clock
        self._timeout = timeout

    async def check(self, url: str) -> Url:
        """Look at a URL before it is kept. Raises BadUrl."""
        return await self._outgoing.check(url)

    def seal(self, secrets: SigningSecrets, webhook: WebhookId) -> str:
        """Secrets as they are kept."""
        return self._vault.seal(secrets, webhook)

    def opened(self, webhook: Webhook) -> SigningSecrets:
        """Its secrets. Raises Unreadable."""
        return self._vault.open_as(SigningSecrets, webhook.secrets, webhook.id)

    async def send(self, claimed: Claimed) -> Result:
        """Make a call. Never raises for what a receiver does."""
        return await self._post(claimed.webhook, event_id(claimed.event), payload.of_event(claimed.event))

    async def test(self, webhook: Webhook, id: str) -> Result:  # noqa: A002
        """Send a test, once; `id` is that of the request."""
        return await self._post(webhook, id, payload.of_test(webhook.id, self._clock.now()))

    async def _post(self, webhook: Webhook, id_: str, body: bytes) -> Result:
        began = self._clock.monotonic()
        at = self._clock.now()
        try:
            secrets = self.opened(webhook)
        except Unreadable as error:
            return Result(status=0, failure=f"its signing secrets cannot be opened: {error}; rotate them", said="")
        keys = [secrets.now]
        if secrets.before and webhook.before_until is not None and at < webhook.before_until:
            keys.append(secrets.before)
        try:
            answer = await self._outgoing.post(
                webhook.url,
                body,
                sign.headers(keys, id_, at, body),
                timeout=self._timeout,
                most=_MOST_SAID,
                success_alone=True,
            )
        except NoAnswer as error:
            return Result(status=0, failure=str(error), said="", seconds=self._clock.monotonic() - began)
        return self._judged(answer, seconds=self._clock.monotonic() - began)

    def _judged(self, answer: Answered, *, seconds: float) -> Result:
        if 200 <= answer.status < 300:
            return Result(status=answer.status, failure="", said="", seconds=seconds)
        wish = retry.wish(answer.retry_after, self._clock.now())
        redirects = " to redirect, which webhooks do not follow" if 300 <= answer.status < 400 else ""
        return Result(
            status=answer.status,
            failure=f"it answered {answer.status}{redirects}",
            said=redacted(answer.body),
            retry_after=None if wish is None else wish / timedelta(seconds=1),
            seconds=seconds,
        )


def redacted(body: bytes) -> str:
    """The beginning of an answer for a person to read: one line, and nothing that looks like a secret."""
    text = " ".join(body[:_MOST_SAID].decode("utf-8", "replace").split())
    return escape(_SECRET.sub(_HIDDEN, text))[:_MOST_SAID]
