"""What the C library does with memory that is freed (D07)."""

from __future__ import annotations

import contextlib
import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGE = 262_144


def give_back_what_is_freed() -> None:
    """Have large pieces go back to the system when they are freed; a C library that knows no `mallopt` does as it does.

    Left alone, glibc takes the first large piece that is freed as a sign that more will come, and from then on keeps as much: after
    a few mails of 25 MB the process has a hundred megabytes that it does not use, and is refused what it needs.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, _LARGE)
