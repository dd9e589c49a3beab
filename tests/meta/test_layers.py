"""The dependency rule: what may import what, and where SQL may stand."""

from __future__ import annotations

import ast
import re

import pytest

from tests.meta.source import modules, run, strings, tool

_SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+(OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+(UNIQUE\s+)?(TABLE|INDEX)|PRAGMA)\b",
    re.DOTALL,
)


def test_the_import_contracts_hold() -> None:
    done = run(tool("lint-imports"), "--no-cache")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", [name for name in modules() if not name.startswith("mailrelay/store/")])
def test_there_is_no_sql_outside_the_store(name: str) -> None:
    found = [(node.lineno, node.value) for node in strings(modules()[name]) if _SQL.search(str(node.value))]
    assert not found, f"{name}: SQL belongs into mailrelay/store"


def test_sql_is_recognised() -> None:
    assert _SQL.search("SELECT id\nFROM message")
    assert _SQL.search("INSERT INTO message")
    assert not _SQL.search("choose a message from the list, then update it")


@pytest.mark.parametrize("name", modules())
def test_every_module_says_what_it_is_for(name: str) -> None:
    assert ast.get_docstring(modules()[name]), f"{name} has no docstring"
