"""Programs of the distribution that tests talk to."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

PACKAGES = {
    "curl": "curl",
    "dovecot": "dovecot-lmtpd",
    "eatmydata": "eatmydata",
    "exim4": "exim4-daemon-light",
    "faketime": "faketime",
    "fiu-ctrl": "fiu-utils",
    "fiu-run": "fiu-utils",
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "opendkim": "opendkim",
    "opendkim-testmsg": "opendkim-tools",
    "postfix": "postfix",
    "promtool": "prometheus",
    "smtp-sink": "postfix",
    "smtp-source": "postfix",
    "swaks": "swaks",
    "unbound": "unbound",
    "wrk": "wrk",
}
"""Tool → the Debian package that brings it."""

_PATH = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/mailrelay-peers/exim/usr/sbin"]
)


def need(tool: str) -> Path:
    """Where `tool` is. When it is missing, the test is skipped; under CI=true it fails, so that nothing is skipped there."""
    found = shutil.which(tool, path=_PATH)
    if not found:
        absent(tool, PACKAGES.get(tool, tool))
    return Path(found)


def absent(what: str, package: str) -> NoReturn:
    """Skip the test, or fail it under CI=true, because `what` of `package` is not there."""
    reason = f"{what} is missing: apt-get install {package}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def lacking(privilege: str, why: str) -> NoReturn:
    """Skip the test because this machine does not let us: named and counted at the end of the run, under CI=true too."""
    pytest.skip(f"{privilege} is missing: {why}")
