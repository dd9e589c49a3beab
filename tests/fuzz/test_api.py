"""W01: what schemathesis thinks of, by the description alone: no 5xx, answers true to the schema, authentication on every path.

A minute of it here; `make fuzz-api` goes on for longer (MAILRELAY_FUZZ_API_SECONDS).
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

from mailrelay.web import flood
from tests.support.cli import relay

SECONDS = int(os.environ.get("MAILRELAY_FUZZ_API_SECONDS", "60"))
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
