"""One organisation on a running HTTP side, for the files that need no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from mailrelay.model.organisation import Organisation, User
from tests.support import factory
from tests.support.cli import Cli
from tests.support.http import Api, Client, serving


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    with structlog.testing.capture_logs():
        async with serving(tmp_path) as running:
            yield running


@pytest.fixture
async def org(api: Api) -> Organisation:
    return await factory.org(api.store, api.clock, name="First", domains=("example.org",))


@pytest.fixture
async def anna(api: Api, org: Organisation) -> User:
    return await factory.user(api.store, api.clock, org, "anna@example.org")


@pytest.fixture
async def cli(api: Api, org: Organisation) -> Cli:
    """The command line on the operator's socket; it needs not say which organisation."""
    return Cli(api.server.unix_socket)


@pytest.fixture
async def admin(api: Api, org: Organisation) -> Client:
    _, secret = await factory.api_token(api.store, api.clock, org)
    return api.web.bearing(secret)
