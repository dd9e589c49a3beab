"""Programs of the distribution that tests talk to."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

PACKAGES = {
    "opendkim": "opendkim",
    "opendkim-testmsg": "opendkim-tools",
    "postfix": "postfix",
    "promtool": "prometheus",
    "swaks": "swaks",
}
"""Tool → the Debian package that brings it."""

_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def need(tool: str) -> Path:
    """Where `tool` is. When it is missing, the test is skipped; under CI=true it fails, so that nothing is skipped there."""
    found = shutil.which(tool, path=_PATH)
    if found:
        return Path(found)
    reason = f"{tool} is missing: apt-get install {PACKAGES.get(tool, tool)}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
