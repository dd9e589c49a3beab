"""The token in a path, also where what passed the link on has added something to its end (T04)."""

from __future__ import annotations

import re

_TOKEN = r"[A-Za-z0-9_-]{22,4096}"  # noqa: S105 (no secret)
# What mail programs and link scanners (Safe Links' %27) add behind a URL that they took out of a text. It has no character that a
# token has, so that it cannot change what one says; whatever else follows makes it no link of ours.
_JUNK = r"""(?:['"<>()\[\]{}.,;:!?*=&$|‘’“”«»…]|%[0-9A-Fa-f]{2}){0,8}"""
_SHAPE = re.compile(rf"/({_TOKEN})(\.[a-z]{{3}})?{_JUNK}\Z", re.ASCII)


def token_in(path: str, part: str, *, suffix: str = "") -> str | None:
    """The text of a token in `/part/TOKEN` and `suffix`, such as `.gif`; None where the path is of another form."""
    if not path.startswith(part, 1):
        return None
    found = _SHAPE.match(path, 1 + len(part))
    if found is None or (found[2] or "") != suffix:
        return None
    return found[1]
