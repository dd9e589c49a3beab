"""What is imported once for all daemons of a test run."""

from __future__ import annotations

import uvloop  # noqa: F401

from tests.crash.relay import import_everything

import_everything()
