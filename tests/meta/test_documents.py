"""The documentation is true: generated pages are current, links lead somewhere, tables know what code and tests cite."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from mailrelay.cli import cli
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


_COMMAND = re.compile(r"`mailrelay ([^`\n]+)`|^ {4}(?:\.venv/bin/)?mailrelay (.+)$", re.MULTILINE)
_FENCED = re.compile(r"^```\w+.*?^```$", re.MULTILINE | re.DOTALL)
_OPTION = re.compile(r"--[a-z-]+")


def _wrong(line: str) -> str:
    """What there is not of a command line, "" for nothing."""
    words = [word for word in re.split(r"\s+", line.partition(" #")[0]) if word]
    at: click.Command = cli
    while isinstance(at, click.Group) and words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
        found = at.get_command(click.Context(at), words[0])
        if found is None:
            return words[0]
        at, words = found, words[1:]
    known = {option for one in at.params for option in (*one.opts, *one.secondary_opts)} | {"--help", "--json"}
    return " ".join(set(_OPTION.findall(" ".join(words))) - known)


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_that_a_page_names_is_there_with_its_options(page: Path) -> None:
    text = _FENCED.sub(lambda block: block[0].replace("\n", "\n    "), page.read_text(encoding="utf-8"))
    lines = ["".join(found) for found in _COMMAND.findall(text)]
    assert {line: wrong for line in lines if (wrong := _wrong(line))} == {}


def test_a_command_that_is_not_there_is_found() -> None:
    assert _wrong("queue liste --all") == "liste"
    assert _wrong("queue list --every") == "--every"
    assert _wrong("queue list --all") == ""
