"""What a newcomer does: the command of `make run` on a fresh folder, then each printed command, pasted as it stands."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support.daemon import PROGRAM, until
from tests.support.peers import need
from tests.support.postfix import free_port

pytestmark = pytest.mark.e2e

REPO = Path(__file__).parents[3]
_END = "Ctrl-C stops it"
_STEP = re.compile(r"^  # (?P<title>.+)\n  (?P<command>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Place:
    """A folder as a fresh clone has it: the program in `.venv/bin`, the configuration in `config`, no data."""

    folder: Path

    def paste(self, command: str) -> str:
        """Run a command line in the folder; what it printed. It must succeed."""
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def running(self, command: str) -> Iterator[str]:
        """Run the daemon by `command`; what it printed by the time it was ready. Stopped by SIGTERM, it ends with 0."""
        printed = self.folder / "printed"
        with printed.open("wb") as out, (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(["/bin/sh", "-c", command], cwd=self.folder, stdout=out, stderr=log)
        try:
            until(
                lambda: _END in printed.read_text() or process.poll() is not None,
                "the daemon says what to do",
            )
            assert process.poll() is None, (self.folder / "log").read_text()
            yield printed.read_text()
        finally:
            process.terminate()
            status = process.wait(30)
        assert status == 0, (self.folder / "log").read_text()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "mailrelay").symlink_to(PROGRAM)
    (tmp_path / "config").mkdir()
    shutil.copy(REPO / "config" / "minimal.yaml", tmp_path / "config")
    # Other tests run on this machine at the same time, so the ports alone are our own.
    kinds = ("edge", "submission", "submissions")
    ports = {
        "listeners": [{"kind": kind, "port": free_port()} for kind in kinds],
        "http": {"port": free_port(), "ops_port": free_port()},
        "public": {"port": free_port()},
    }
    with (tmp_path / "config" / "minimal.yaml").open("a") as file:
        file.write("\n" + yaml.safe_dump(ports))
    return Place(tmp_path)


@pytest.fixture
def command() -> str:
    """The last line of what `make run` does."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        [need("make"), "-n", "run"], cwd=REPO, capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.strip().splitlines()[-1]


def test_each_printed_command_works_and_nothing_leaves_the_machine(place: Place, command: str) -> None:
    assert "--sample" in command
    with place.running(command) as printed:
        steps = {found["title"]: found["command"] for found in _STEP.finditer(printed)}
        assert len(steps) == 10, printed
        said = {title: place.paste(step) for title, step in steps.items()}
        first, filed, record, sent, api, queue, kept, asked, happened, audit = said.values()
        assert "250 2.0.0 queued as Q" in first
        # Which record, by which rule, on what evidence.
        assert re.search(r"contact/1\b.*by rule match\.primary", filed), filed
        assert "bob@bluebird.example" in filed
        message = filed.split()[0]
        assert re.search(rf"{message} .*match\.primary", record), record
        assert "Queued as Q" in sent
        assert "contact/1" in asked
        assert "message.filed" in happened
        assert json.loads(api)["deliveries"][0]["recipient"] == "bob@bluebird.example"
        mailrelay = ".venv/bin/mailrelay"

        def ended() -> list[dict[str, str]]:
            items: list[dict[str, str]] = json.loads(place.paste(f"{mailrelay} queue list --all --json"))["items"]
            return items if {one["state"] for one in items} == {"sent"} else []

        deliveries = until(ended, "both mails are with the catch-all")
        assert len(deliveries) == 2, queue
        for one in deliveries:
            shown = place.paste(f"{mailrelay} queue show {one['id']}")
            assert "catch-all" in shown, shown
        letters = [path.read_bytes() for path in (place.folder / "data" / "sent").rglob("*.eml")]
        assert len(letters) == 2, kept
        assert all(
            letter.count(b"\nDKIM-Signature:") + letter.startswith(b"DKIM-Signature:") == 2 for letter in letters
        )
        assert all(b"An offer" in letter for letter in letters)
        assert "unaccounted" in audit.lower()
        assert json.loads(place.paste(f"{mailrelay} audit --json"))["balanced"] is True


def test_before_any_mail_each_list_says_what_to_do_next(place: Place, command: str) -> None:
    with place.running(command) as printed:
        found = re.search(r"bcc-\S+@\S+", printed)
        assert found
        assert found[0] in place.paste(".venv/bin/mailrelay message list")
        assert "mailrelay message send" in place.paste(".venv/bin/mailrelay queue list --all")
        assert "queue list --all" in place.paste(".venv/bin/mailrelay queue list")
        assert "Nothing waits" in place.paste(".venv/bin/mailrelay unresolved list")


def test_a_second_start_changes_nothing(place: Place, command: str) -> None:
    lists = ("organisation list", "user list", "module list", "record list contact", "record list site", "token list")

    def everything() -> list[str]:
        return [place.paste(f".venv/bin/mailrelay {one} --json") for one in lists]

    with place.running(command) as first:
        before = everything()
    with place.running(command) as second:
        assert second == first
        assert everything() == before
