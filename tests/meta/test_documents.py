"""The documentation is true: generated pages are current, links lead somewhere, tables know what code and tests cite."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.meta.source import ROOT, run, tool, tracked

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_PAGES = [path for path in tracked() if path.suffix == ".md"]


def test_generated_pages_are_current() -> None:
    done = run(tool("python"), "-m", "mailrelay.config.document", "--check")
    assert done.returncode == 0, done.stdout


def test_the_tables_of_standards_and_faults_are_current() -> None:
    done = run(tool("python"), "scripts/tables.py", "--check")
    assert done.returncode == 0, done.stdout


def test_the_table_of_events_is_current() -> None:
    done = run(tool("python"), "scripts/event_types.py", "--check")
    assert done.returncode == 0, done.stdout


def _heading_id(line: str) -> str:
    """The fragment that a heading gets on GitHub."""
    return re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        name, _, fragment = link.partition("#")
        if "://" in name or name.startswith("mailto:"):
            continue
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{link}: there is no such file"
        if fragment:
            headings = {
                _heading_id(line) for line in target.read_text(encoding="utf-8").splitlines() if line.startswith("#")
            }
            assert fragment in headings, f"{link}: there is no such heading"


# Taken apart, so that this file does not hold what it looks for.
_FOREIGN = re.compile(
    "|".join(
        ("/wor" + "k/", "/opt/wh" + "eels", "/ro" + "ot/", r"pypi\.o" + "rg", "pythonhoste" + "d", "--find-l" + "inks")
    )
)


def test_nothing_names_one_machine_or_a_package_registry() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line[:100]}"
            for number, line in enumerate(text.splitlines(), 1)
            if _FOREIGN.search(line)
        ]
    assert not found, "\n".join(found)
