"""Killed in the middle of calls to a webhook: each event arrives all the same, under the id that it had, and in order (R6, Q05)."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from tests.support.certs import certificate
from tests.support.daemon import Daemon, daemon
from tests.support.receiver import OK, Request, receiving

CERT = certificate("127.0.0.1")
SETTINGS = {"webhooks": {"allow_private": ["127.0.0.0/8"]}, "delivery": {"ca_file": str(CERT.authority)}}


async def test_fault_q05_killed_between_a_request_and_its_settlement_the_event_comes_again_with_its_id(tmp_path: Path):
    killed: list[str] = []
    one: Daemon

    async def kill_once(request: Request, writer: asyncio.StreamWriter) -> bytes:
        if request.type == "webhook.changed" and not killed:
            killed.append(request.headers["webhook-id"])
            os.kill(one.pid, signal.SIGKILL)  # it is here, and nothing of it is written down there
        return OK

    async with receiving(CERT.server_context(), kill_once) as crm:
        with daemon(tmp_path, SETTINGS, start=False) as one:
            await asyncio.to_thread(one.start)
            made = await _cli(one, "webhook", "add", crm.url("127.0.0.1"))
            await _until(lambda: crm.types == ["webhook.created"])
            await _cli(one, "webhook", "change", made["id"], "--description", "the CRM")
            assert one.process is not None
            assert await asyncio.to_thread(one.process.wait, 20) == -signal.SIGKILL
            await asyncio.to_thread(one.start)
            await _until(lambda: [each.headers["webhook-id"] for each in crm.requests].count(killed[0]) == 2)
            await _until_waiting(one, made["id"], 0)
            journal = await _cli(one, "event", "list", "--after", "0", "--limit", "1000")
            assert await asyncio.to_thread(one.stop) == 0
    came = [each.json["data"]["seq"] for each in crm.requests]
    listed = journal["items"] if isinstance(journal, dict) else journal
    events = [each["seq"] for each in listed if each["seq"] >= came[0]]
    assert sorted(set(came)) == events
    assert len(came) == len(events) + 1
    assert {each.json["data"]["seq"]: each.body for each in crm.requests[:-1]} == {
        each.json["data"]["seq"]: each.body for each in crm.requests
    }


async def _cli(one: Daemon, *arguments: str) -> Any:
    return await asyncio.to_thread(one.cli, *arguments)


async def _until(check: Any) -> None:
    async with asyncio.timeout(30):
        while not check():  # noqa: ASYNC110 (in another process)
            await asyncio.sleep(0.02)


async def _until_waiting(one: Daemon, webhook: str, number: int) -> None:
    async with asyncio.timeout(30):
        while (await _cli(one, "webhook", "show", webhook))["health"]["waiting"] != number:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
