"""W01: what schemathesis thinks of, by the description alone: no 5xx, answers true to the schema, authentication on every path.

Half a minute of it here; `make fuzz-api` goes on for longer (MAILRELAY_FUZZ_API_SECONDS).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mailrelay.model.organisation import Right
from mailrelay.report.facts import FactKeeper
from mailrelay.service import Stopping
from mailrelay.web import flood
from tests.support import factory
from tests.support.cli import relay
from tests.support.http import serving

SECONDS = int(os.environ.get("MAILRELAY_FUZZ_API_SECONDS", "30"))
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
    "use_after_free",
    "ensure_resource_availability",
)
ENDLESS = re.compile(r"/(stream|events)$")
"""Paths whose answers wait for something to happen."""
V1 = "/api/v1"
CURSORS = (
    *(
        "x",
        "-1",
        "0",
        "9" * 30,
        "\x00",
        "a@b.c",
        "a@b.c x",
        " ",
        "%",
        "'",
        "\u00e9",
        "2026-01-01",
        "9999-12-31",
        "A" * 500,
    ),
    *(
        "2026-01-01T00:00:00 M1",
        "2026-01-01T00:00:00+00:00 \x00",
        "2026-01-01T00:00:00+00:00",
        "M1 2026-01-01T00:00:00+00:00 ",
    ),
    *("0001-01-01T00:00:00+14:00 M1", "9999-12-31T23:59:59-14:00 M1", "9999-12-31T23:59:59+00:00 M1", "0001-01-01 M1"),
    *(
        "a@b.c 2026-01-01T00:00:00",
        "a@b.c 0001-01-01T00:00:00+14:00",
        "a@b.c 9999-12-31T23:59:59-14:00",
        "a@b.c 2026-W01",
    ),
)
"""What no page ever gave as its `next`, but for the last of days."""
DAYS = ("0001-01-01", "9999-12-31", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59-14:00", "0001-01-01T00:00+14:00")
QUESTIONS = (
    *(
        f"deals where {field} {how} {day}"
        for day in DAYS
        for field in ("closing_date", "created")
        for how in ("=", "!=", ">", "<=")
    ),
    *(
        f"deals where {what} {how} {day}"
        for day in DAYS
        for what in ("sent", "closing_date")
        for how in ("until", "since", "before")
    ),
    *(
        f"deals where {what} between {DAYS[0]} and {day}"
        for day in DAYS
        for what in ("sent", "closing_date", "created")
    ),
    *(
        f"deals where {what} within {many} years"
        for what in ("sent", "delivered")
        for many in ("9999", "2025", "9" * 20)
    ),
    *(
        "deals where name = '\x00'",
        "deals where created within the next 9999 years",
        "\x00",
        "(" * 400,
        "deals where " + "not " * 120,
    ),
)


def _reachable(described: dict[str, Any]) -> dict[str, Any]:
    """The description as one who is not on the machine uses it: the operator's paths too, which refuse him."""
    described["paths"] = {path: one for path, one in described["paths"].items() if not ENDLESS.search(path)}
    for methods in described["paths"].values():
        for operation in methods.values():
            operation.pop("servers", None)
            content = operation.get("requestBody", {}).get("content", {})
            for kind in [kind for kind in content if "ndjson" in kind or kind == "message/rfc822"]:
                del content[kind]  # which schemathesis cannot write
    return described


async def test_fault_w01_no_cursor_and_no_question_is_a_5xx(tmp_path: Path) -> None:
    """What drawing at random rarely hits: times that look like a page's `next`, and the ends of the calendar."""
    async with serving(tmp_path) as api:
        org = await factory.org(api.store, api.clock, domains=("example.org",))
        _, secret = await factory.api_token(api.store, api.clock, org, Right.ADMIN)
        client = api.web.bearing(secret)
        await client.put(f"{V1}/records/deal/1", json={"name": "x", "fields": {"closing_date": "9999-12-31"}})
        await FactKeeper(api.store, api.clock, Stopping()).look()  # for which every answer would wait
        paths = (await client.get(f"{V1}/openapi.json")).json["paths"]
        failed, asked = [], 0
        for path, methods in paths.items():
            if ENDLESS.search(path):
                continue
            names = {one["name"] for one in methods.get("get", {}).get("parameters", ()) if one["in"] == "query"}
            for name, values in (("after", CURSORS), ("q", QUESTIONS)):
                for value in values if name in names else ():
                    asked += 1
                    needed = {"q": "contacts"} if "q" in names else {}
                    where = path.replace("{module}", "deal").replace("{", "").replace("}", "")
                    answer = await client.get(where, params=needed | {name: value})
                    failed += [(path, name, value, answer.status)] if answer.status >= 500 else []
    assert not failed, failed
    assert asked > 500


@pytest.mark.timeout(SECONDS * 3 + 120)
async def test_fault_w01_schemathesis_finds_no_5xx_no_untrue_answer_and_no_open_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flood, "_TRIES", 1_000_000)  # which it would take for a wrong answer
    async with relay(tmp_path) as one, aiohttp.ClientSession() as session:
        await one.cli.json("organisation", "add", "Example", "--domain", "example.org")
        await one.cli.json("user", "add", "--name", "Anna", "--address", "anna@example.org", "--role", "administrator")
        token = await one.cli.json("token", "make", "fuzz", "--may", "admin")
        host, port = one.running.api
        url = f"http://{host}:{port}"
        async with session.get(f"{url}/api/v1/openapi.json") as answer:
            described = _reachable(await answer.json())
        file = tmp_path / "openapi.json"
        await asyncio.to_thread(file.write_text, json.dumps(described))
        run = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run", str(file), "--url", url),
            *("--max-time", str(SECONDS), "--header", f"Authorization:Bearer {token['secret']}"),
            *("--checks", ",".join(CHECKS), "--phases", "coverage,fuzzing,stateful"),
            *("--request-timeout", "20", "--suppress-health-check", "all", "--no-shrink", "--warnings", "off"),
            *("--max-failures", "30", "--continue-on-failure", "--no-color"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await run.communicate()
        failed = [line for line in one.log if line["event"] == "request.failed"]
    print(said.decode()[-5000:])  # what it did, for whoever runs it by hand with -s
    assert run.returncode == 0, said.decode()[-20_000:]
    assert not failed
