"""Answers of the public door: fields that keep the token to itself (T16), and pages that name nothing."""

from __future__ import annotations

from html import escape

from mailrelay.web.at_once import lines

ALWAYS = lines(
    (
        # The token stands in the URL: where the reader goes next must not learn it, no cache keep it, no search engine list it.
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-store, private, max-age=0"),
        (b"x-robots-tag", b"noindex, nofollow, noarchive"),
        (b"x-content-type-options", b"nosniff"),
    )
)
# RFC 6797 §7.1: only where the answer leaves by TLS, which it does where the base is https.
HSTS = lines(((b"strict-transport-security", b"max-age=31536000"),))
PAGE = lines(
    (
        (b"content-type", b"text/html; charset=utf-8"),
        (
            b"content-security-policy",
            b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (b"x-frame-options", b"DENY"),
    )
)
_STYLE = "body{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem;color:#222;background:#fff}"


def html(title: str, *paragraphs: str, form: str = "") -> bytes:
    """A page of plain sentences, which are escaped; `form` is HTML as it is."""
    said = "".join(f"<p>{escape(one)}</p>" for one in paragraphs)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta name="robots" content="noindex"><title>{escape(title)}</title><style>{_STYLE}</style></head>'
        f"<body><h1>{escape(title)}</h1>{said}{form}</body></html>"
    ).encode()


NOTHING = html("Nothing here", "This link leads nowhere. It may be incomplete, or it no longer holds.")
TOO_MANY = html("Too many requests", "Please try again in a minute.")
METHOD = html("Not like this", "This address is for reading only.")
FAILED = html("Something went wrong", "Please try again later.")
