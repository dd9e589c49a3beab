"""The words of each language in which people say that they are away: a language more is a file more (I25).

Each file has one `WORDS`. Its phrases are regular expressions in lower case, compared without accents; a blank stands for white space.
"""

from __future__ import annotations

import importlib
import pkgutil

from mailrelay.mail.away.words import Words


def _languages() -> tuple[Words, ...]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(importlib.import_module(f"{__name__}.{name}").WORDS for name in names)


LANGUAGES = _languages()
