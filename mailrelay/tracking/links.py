"""Which links of a mail stay as their author wrote them (O9): whoever follows one must never depend on us for it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from mailrelay.mail.suffix import registrable
from mailrelay.tracking.target import target_host

# Whole words of a path, query or fragment, and beginnings of words. A link too many that stays costs a count; one too few
# sends a person's secret, or their wish to hear no more, through a counter.
_UNSUBSCRIBE = (
    r"un-?_?subscri\w*|opt-?_?out\w*|list-?unsub\w*|unsub|email-?_?preferences?|subscription-?_?preferences?|manage-?_?subscriptions?"
    r"|abmeld\w*|abbestell\w*|austrag\w*|des-?abonn\w*|des-?inscri\w*|darse-de-baja|cancelar-(?:inscri|suscri)\w*|desuscri\w*"
    r"|disiscri\w*|annulla-iscri\w*|afmeld\w*|uitschrijv\w*|descadastr\w*|avmeld\w*|wypisz\w*|odhlas\w*"
)
_SIGN_IN = (
    r"log-?_?in|log-?_?on|sign-?_?in|sign-?_?on|sso|saml2?|oauth2?|oidc|authori[sz]e|authenticate|auth|2fa|mfa|otp"
    r"|passwor[dt]s?|pass-?_?word-?_?reset|reset-?_?pass\w*|forgot-?_?pass\w*|pwreset|recover-?_?account|account-?_?recovery"
    r"|magic-?_?link|verify|verification|verif(?:y|ied)-?_?(?:e-?_?mail|account)|confirm|confirmation|activate|activation"
    r"|anmelden|anmeldung|einloggen|kennwort\w*|passwort\w*|connexion|mot-?_?de-?_?passe|iniciar-?_?sesion|contrasena|inloggen|wachtwoord"
)
# … and parameters that hold a secret by their name.
_SECRETS = (
    r"(?:access_|auth_|id_|login_|reset_|session_|verify_|invite_)?token|session(?:_?id)?|jwt|signature|sig|otp|pin"
)
_WORDS = re.compile(
    rf"(?<![a-z0-9])(?:{_UNSUBSCRIBE}|{_SIGN_IN})(?![a-z0-9])|[?&;](?:{_SECRETS})=", re.IGNORECASE | re.ASCII
)
_HOST_LABELS = frozenset(
    "login logon signin sign-in sso auth oauth id idp identity accounts account secure-login unsubscribe optout".split()  # noqa: SIM905
)
# What such a link says to its reader, in the languages that mails are mostly written in.
_SAYS_UNSUBSCRIBE = re.compile(
    r"unsubscri|opt[ -]?out|abmeld|abbestell|austragen|désabonn|désinscri|desabonn|desinscri|darse de baja|darme de baja"
    r"|cancelar (?:la )?(?:suscripci|inscri|subscri)|disiscri|annulla (?:l.)?iscrizione|afmeld|uitschrij|descadastr|avmeld|avprenumer"
    r"|wypisz|odhlás|отписа|配信停止|退订|退訂|수신 ?거부",
    re.IGNORECASE,
)
# `https://…`, `www.…` or a bare `name.tld/…`: what a reader takes for where the link leads.
_SAYS_URL = re.compile(
    r"\s*(?:https?:/*|(?=www\.)|(?=[a-z0-9.-]+\.[a-z]{2,24}(?:[/:?#]\S*)?\s*\Z))([a-z0-9_.\[\]:-]+|[^\s/?#@]+)",
    re.IGNORECASE,
)
_LONGEST_TEXT = 2_000
_AFTER_AUTHORITY = re.compile(r"[/?#]")


@dataclass(frozen=True, slots=True)
class LinkPattern:
    """Links of one host whose path, with query, begins so."""

    host: str
    path: str = "/"

    @classmethod
    def parse(cls, text: str) -> LinkPattern:
        """`https://host/path`, `host/path` or `host`, which stands for everything there. Raises ValueError."""
        rest = text.strip().partition("://")[2] if "://" in text else text.strip()
        name, slash, path = rest.partition("/")
        host = target_host(f"https://{name}/")
        if host is None or not (slash or rest == name) or "." not in host or any(char.isspace() for char in rest):
            raise ValueError("must be a host, or a link that begins with https:// and its host")
        return cls(host, slash + path or "/")

    def __str__(self) -> str:
        """As `parse` reads it."""
        return f"https://{self.host}{self.path}"

    def fits(self, host: str, url: str) -> bool:
        """Whether it names this link of a host."""
        if host != self.host:
            return False
        found = _AFTER_AUTHORITY.search(url, url.index("://") + 3)
        return self.path == "/" or (found is not None and url.startswith(self.path, found.start()))


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRules:
    """What stays in the mails of an organisation."""

    host: str
    """That tracked links will have."""
    own_hosts: frozenset[str] = frozenset()
    """Others of ours: a link to one of them is tracked already, or is a page of ours."""
    patterns: tuple[LinkPattern, ...] = ()
    """The organisation's own."""
    listed: frozenset[str] = field(default_factory=frozenset)
    """Links of the mail's List-* fields."""

    def may_change(self, url: str, host: str) -> bool:
        """Whether a link to a safe `url` on `host` may be rewritten, by where it leads."""
        if host == self.host or host in self.own_hosts or url in self.listed:
            return False
        if host.partition(".")[0] in _HOST_LABELS or _is_personal(url):
            return False
        return not any(pattern.fits(host, url) for pattern in self.patterns)

    def may_change_by_text(self, text: str) -> bool:
        """Whether a link that shows this to its reader may be rewritten.

        Not where the text is a URL of another organisation's domain than the tracking host's: it would say one thing and lead to
        another, as phishing does, and mail programs warn. Not where it offers to unsubscribe.
        """
        if len(text) > _LONGEST_TEXT:
            return True
        said = _said(text)
        return said is not None and (not said or said == _domain(self.host))


# The same links come for every recipient of a mail.
@lru_cache(maxsize=2048)
def _is_personal(url: str) -> bool:
    """Whether a link's path, query or fragment says that it unsubscribes, signs in, or holds a secret."""
    authority = url.index("://") + 3
    found = _AFTER_AUTHORITY.search(url, authority)
    return found is not None and _WORDS.search(url, found.start()) is not None


@lru_cache(maxsize=2048)
def _said(text: str) -> str | None:
    """Of which owner's host a text is a URL, "" when it is none; None for one that offers to unsubscribe."""
    if _SAYS_UNSUBSCRIBE.search(text):
        return None
    said = _SAYS_URL.match(text)
    return "" if said is None else _domain(said[1].rpartition(":")[0] or said[1])


@lru_cache(maxsize=1024)
def _domain(host: str) -> str:
    name = host.lower().strip(".")
    return registrable(name)
