"""`mailrelay run --sample`: what it makes, and that each command it prints works when pasted (issue of the two commands)."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mailrelay import daemon
from mailrelay.cli import sample as printed
from mailrelay.clock import Clock
from mailrelay.config.schema import (
    Config,
    Delivery,
    Http,
    Listener,
    ListenerKind,
    Public,
    Route,
    SmartHost,
    Submission,
)
from mailrelay.ids import IdFactory
from mailrelay.inbound.passwords import hash_password, verify_password
from mailrelay.model.organisation import Dropbox
from mailrelay.model.record import RecordRef
from mailrelay.service import Stopping
from mailrelay.store import dkim_keys, dropboxes, modules, organisations, people, records, tokens
from mailrelay.upkeep import sample
from tests.support.factory import open_store
from tests.support.factory import org as factory_org
from tests.support.peers import need

PROGRAM = Path(sys.executable).with_name("mailrelay")


def _config(folder: Path) -> Config:
    return Config(
        data=folder,
        listeners=tuple(Listener(kind=kind, port=0) for kind in ListenerKind),
        http=Http(port=0, ops_port=0),
        public=Public(port=0),
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


async def test_a_later_start_tells_what_holds_by_then(tmp_path: Path) -> None:
    clock, config = Clock(), _config(tmp_path)
    ids = IdFactory(clock.now)
    async with open_store(tmp_path) as store:
        made = await sample.make(store, clock, ids, config)
        assert made is not None
        (login,) = await store.read(people.by_address, made.user)
        org, ben = login.user.org, login.user.id
        box = Dropbox(
            id=ids.dropbox(),
            org=org,
            user=ben,
            token="x" * 24,
            created_at=clock.now(),
            valid_until=None,
            last_used_at=None,
        )
        await store.write(dropboxes.regenerate, box, old_until=clock.now())
        again = await sample.make(store, clock, ids, config)
        assert again == replace(made, dropbox=f"bcc-{'x' * 24}@inbound.localhost")

        await store.write(dropboxes.disable, org, ben, now=clock.now())
        await store.write(people.set_password, org, ben, hash_password("another password", rounds=4))
        (token,) = await store.read(tokens.list_tokens, org)
        await store.write(tokens.revoke, org, token.id, now=clock.now())
        assert await sample.make(store, clock, ids, config) == replace(made, dropbox="", password="", token="")
        await store.write(records.remove, org, RecordRef("contact", "1"), at=clock.now())
        await factory_org(store, clock)
        found = await sample.make(store, clock, ids, config)
        assert found is not None
        assert (found.record, found.alone) == ("", False)

        await store.write(people.deactivate, org, ben)
        assert await sample.make(store, clock, ids, config) is None


@pytest.mark.parametrize(
    ("route", "to"),
    [
        (Delivery(route=Route.MX), "the recipients' own servers"),
        (
            Delivery(route=Route.SMART_HOST, smart_host=SmartHost(host="smart.example", port=2500)),
            "smart.example:2500",
        ),
    ],
)
async def test_with_a_route_no_printed_command_sends(tmp_path: Path, route: Delivery, to: str) -> None:
    config = _config(tmp_path / "data").model_copy(update={"delivery": route})
    async with _running(config) as running:
        app = running.application
        made = await sample.make(app.store, app.clock, app.ids, app.config)
        assert made is not None
        said = printed.text(running, made)
        assert "MAIL THAT IS SENT LEAVES THIS MACHINE" in said
        assert to in said
        assert "Nothing leaves" not in said
        assert "data/sent" not in said
        commands = [step.command for step in printed.steps(running, made)]
        assert not any("message send" in one or "/messages" in one for one in commands)
        assert any("practice send" in one for one in commands)

        without = replace(made, dropbox="", password="", token="")
        said = printed.text(running, without)
        assert f"dropbox make {made.user}" in said
        assert "--dropbox" not in said


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
    (tmp_path / "config").mkdir()
    # As config/minimal.yaml says it, in its own folder's eyes.
    async with _running(_config(Path("config/../data"))) as running:
        app = running.application
        made = await sample.make(app.store, app.clock, app.ids, app.config)
        assert made is not None
        said = printed.text(running, made)
        assert "  data/mailrelay.sock\n" in said
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
