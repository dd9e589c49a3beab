"""W10: what goes wrong in the store is told without the values it went wrong with: they may be secrets, or somebody's mail."""

from __future__ import annotations

import traceback

import pytest
from sqlalchemy.exc import DBAPIError

from mailrelay.store.base import Store
from mailrelay.store.tables import dropbox
from tests.support import factory
from tests.support.clock import FakeClock


async def test_fault_w10_an_error_does_not_show_a_dropbox_token(store: Store, clock: FakeClock) -> None:
    org = await factory.org(store, clock)
    anna = await factory.user(store, clock, org, "anna@acme.test")
    box = await factory.dropbox(store, clock, anna)
    statement = dropbox.insert().values(
        id=box.id, org=org.id, user="nobody", token=box.token, created_at=0, valid_until=None
    )
    with pytest.raises(Exception) as raised:  # noqa: PT011 (IntegrityError, or StoreBusy after the retries)
        await store.write(lambda tx: tx.execute(statement))
    errors: list[BaseException] = [raised.value]
    while errors[-1].__cause__ is not None:
        errors.append(errors[-1].__cause__)
    assert any(isinstance(one, DBAPIError) for one in errors)
    for one in errors:
        if isinstance(one, DBAPIError):
            assert box.token not in str(one)
    assert box.token not in "".join(traceback.format_exception(raised.value))
