"""AUTH as a client: PLAIN, LOGIN, OAUTHBEARER, XOAUTH2 (RFC 4954, RFC 4616, RFC 7628). The caller has proved whom it speaks to."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from mailrelay.model.delivery import Deferred, Stage
from mailrelay.model.reply import Reply, reply

Command = Callable[[str], Awaitable[Reply]]
"""Says one line and returns the reply."""
_GO_ON = 334


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name, and a password or an access token of OAuth 2; for verified TLS only."""

    user: str
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


async def authenticate(
    say: Command, offered: Collection[str], credentials: Credentials, *, host: str, port: int
) -> Deferred | None:
    """Log in by the best way that the server offers (lower-case names); None once we are, else why not.

    A refusal is a deferral whatever its code: it is ours to mend, and no message bounces for it (N11).
    """
    answer = await (_by_token if credentials.token else _by_password)(say, offered, credentials, host, port)
    if isinstance(answer, Deferred) or answer.code == 235:
        return answer if isinstance(answer, Deferred) else None
    return Deferred(reply=answer, stage=Stage.AUTH)


async def _by_password(
    say: Command, offered: Collection[str], credentials: Credentials, _host: str, _port: int
) -> Reply | Deferred:
    user, password = credentials.user, credentials.password
    if "plain" in offered:
        return await say(f"AUTH PLAIN {_base64(f'{chr(0)}{user}{chr(0)}{password}')}")
    if "login" not in offered:
        return _lacks("neither AUTH PLAIN nor AUTH LOGIN")
    answer = await say("AUTH LOGIN")
    for secret in (user, password):
        if answer.code == _GO_ON:
            answer = await say(_base64(secret))
    return answer


async def _by_token(
    say: Command, offered: Collection[str], credentials: Credentials, host: str, port: int
) -> Reply | Deferred:
    if "oauthbearer" in offered:
        # RFC 7628 §3.1, RFC 5801 §4: `,` and `=` in the name are written otherwise.
        name = credentials.user.replace("=", "=3D").replace(",", "=2C")
        said = f"n,a={name},\x01host={host}\x01port={port}\x01auth=Bearer {credentials.token}\x01\x01"
        answer, end = await say(f"AUTH OAUTHBEARER {_base64(said)}"), "AQ=="
    elif "xoauth2" in offered:
        said = f"user={credentials.user}\x01auth=Bearer {credentials.token}\x01\x01"
        answer, end = await say(f"AUTH XOAUTH2 {_base64(said)}"), ""
    else:
        return _lacks("neither AUTH OAUTHBEARER nor AUTH XOAUTH2")
    if answer.code == _GO_ON:  # RFC 7628 §3.2.3: why it fails is in a challenge, which wants an empty answer
        answer = await say(end)
    return answer


def _lacks(what: str) -> Deferred:
    return Deferred(reply=reply(451, "4.7.0", f"the server offers {what}"), stage=Stage.AUTH)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
