"""`mailrelay run --sample`: what it makes, and that each command it prints works when pasted (issue of the two commands)."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mailrelay import daemon
from mailrelay.cli import sample as printed
from mailrelay.clock import Clock
from mailrelay.config.schema import Config, Http, Listener, ListenerKind, Submission
from mailrelay.ids import IdFactory
from mailrelay.inbound.passwords import verify_password
from mailrelay.service import Stopping
from mailrelay.store import dkim_keys, modules, organisations, people, records
from mailrelay.upkeep import sample
from tests.support.factory import open_store
from tests.support.peers import need

PROGRAM = Path(sys.executable).with_name("mailrelay")


def _config(folder: Path) -> Config:
    return Config(
        data=folder,
        listeners=tuple(Listener(kind=kind, port=0) for kind in ListenerKind),
        http=Http(port=0, ops_port=0),
        submission=Submission(password_rounds=4),
    )


async def test_the_sample_organisation_is_what_it_should_be(tmp_path: Path) -> None:
    clock, config = Clock(), _config(tmp_path)
    async with open_store(tmp_path) as store:
        made = await sample.make(store, clock, IdFactory(clock.now), config)
        assert made is not None
        (org,) = await store.read(organisations.list_organisations)
        users = await store.read(people.list_users, org.id)
        assert [user.role for user in users].count("administrator") == 1
        assert len(users) == 3
        assert any(user.alternates for user in users)
        kinds = {module.name: module for module in await store.read(modules.list_modules, org.id)}
        counts = {name: len(await store.read(records.list_records, org.id, name)) for name in kinds}
        assert all(counts[name] for name in ("lead", "contact", "account", "deal"))
        (custom,) = [module for module in kinds.values() if module.custom]
        assert counts[custom.name]
        assert custom.address_fields
        assert 12 <= sum(counts.values()) <= 14
        assert {key.key.algorithm for key in await store.read(dkim_keys.list_keys, org.domains[0])} == {
            "rsa-sha256",
            "ed25519-sha256",
        }
        (login,) = await store.read(people.by_address, made.user)
        assert verify_password(made.password, login.password, rounds=4)
        assert stat.S_IMODE((tmp_path / "sample.json").stat().st_mode) == 0o600
        assert made.token not in repr(made)
        # A second start changes nothing and knows the same.
        assert await sample.make(store, clock, IdFactory(clock.now), config) == made
        assert len(await store.read(organisations.list_organisations)) == 1
        # Somebody else's organisation is left alone, and nothing is said of a sample.
        (tmp_path / "sample.json").unlink()
        assert await sample.make(store, clock, IdFactory(clock.now), config) is None


@asynccontextmanager
async def _running(config: Config) -> AsyncIterator[daemon.Running]:
    stopping = Stopping()
    started: asyncio.Future[daemon.Running] = asyncio.get_running_loop().create_future()

    async def ready(running: daemon.Running) -> None:
        started.set_result(running)

    task = asyncio.create_task(daemon.run(config, ready=ready, stopping=stopping))
    try:
        await asyncio.wait([task, started], timeout=60, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        yield await started
    finally:
        stopping.set()
        await task


async def _paste(command: str, folder: Path) -> str:
    environment = {**os.environ, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    shell = await asyncio.create_subprocess_exec(
        "sh", "-c", command, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(shell.communicate(), 60)
    assert shell.returncode == 0, f"{command}\n{out.decode()}{err.decode()}"
    return out.decode()


async def test_each_printed_command_works_when_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with _running(_config(tmp_path / "data")) as running:
        app = running.application
        made = await sample.make(app.store, app.clock, app.ids, app.config)
        assert made is not None
        said = printed.text(running, made)
        for worth_knowing in (made.dropbox, made.token, made.password, f"127.0.0.1:{running.api[1]}"):
            assert worth_knowing in said
        answers: dict[str, str] = {}
        for step in printed.steps(running, made):
            assert step.command in said
            if step.needs:
                need(step.needs)
            answers[step.title.partition(":")[0].partition(",")[0]] = await _paste(step.command, tmp_path)
        assert "250 2.0.0 queued as Q" in answers["mail in"]
        assert "match.primary" in answers["where it was filed"]
        assert "contact/1" in answers["where it was filed"]
        assert "Bob Baker" in answers["the customer's record"]
        assert json.loads(answers["the same by the API"])["deliveries"]
        assert answers["the queue; nothing leaves this machine until a route is configured"].count(made.customer) == 2
        assert ".eml" in answers["what would have been sent"]
        assert "UNACCOUNTED" in answers["is everything accounted for?"]
