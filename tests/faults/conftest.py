"""Slow faults, run by `make test-faults` and by continuous integration, and left out of `make test`: each is marked `faults`.

A missing tool skips its test, named at the end, and fails it under CI=true; a privilege that this machine does not give
(mounts, namespaces, cgroups) skips it, named and counted, in any case.
"""

from __future__ import annotations

from pathlib import Path

import pytest

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever lies in this folder is slow."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.faults)
