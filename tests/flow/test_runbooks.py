"""The command of each alert works as it stands, whoever is woken: where there are several organisations, too (R2)."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from tests.support.cli import Cli, relay

_ALERTS = Path(__file__).parents[2] / "config" / "alerts.yaml"
_RUNBOOKS = sorted(
    {
        rule["annotations"]["runbook"]
        for group in yaml.safe_load(_ALERTS.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    }
)


@pytest.fixture
async def cli(tmp_path: Path) -> AsyncIterator[Cli]:
    async with relay(tmp_path) as house:
        for name in ("Acme", "Otherwise Ltd"):
            assert (await house.cli("organisation", "add", name)).status == 0
        yield house.cli


async def test_each_alert_names_a_command_that_works_as_it_stands(cli: Cli) -> None:
    assert len(_RUNBOOKS) > 10
    said = {runbook: await cli(*shlex.split(runbook)[1:]) for runbook in _RUNBOOKS}
    assert {runbook: one for runbook, one in said.items() if one.status} == {}
    assert all(one.out for one in said.values())


async def test_without_a_name_a_list_is_of_each_organisation_and_says_whose(cli: Cli) -> None:
    assert (await cli("suspension", "list")).out == "Nothing, in any organisation.\n"
    there = ("--reason", "they ask", "--organisation", "Otherwise Ltd")
    assert (await cli("suspension", "add", "job", "spring", *there)).status == 0
    said = (await cli("suspension", "list")).out
    assert "Otherwise Ltd" in said.splitlines()[0]
    assert "spring" in said
    assert "Acme" not in said
    assert "spring" not in (await cli("suspension", "list", "--organisation", "Acme")).out


async def test_what_changes_something_needs_the_name_and_so_does_who_acts_for_a_user(cli: Cli) -> None:
    for command in (("webhook", "add", "https://crm.example/hooks"), ("webhook", "list", "--as", "anna@example.org")):
        said = await cli(*command)
        assert said.status == 65
        assert "--organisation: say which organisation: Acme" in said.error
        assert "MAILRELAY_ORGANISATION" in said.error
