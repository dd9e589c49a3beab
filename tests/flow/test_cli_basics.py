"""The command line itself: quick, helpful, and with one clear line when something is wrong (R1)."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mailrelay.cli import cli, message
from mailrelay.model.schedule import Preset
from mailrelay.model.tracking import Mode
from tests.support.cli import Cli

HEAVY = ("pydantic", "fastapi", "starlette", "sqlalchemy", "uvicorn", "rich", "yaml", "cryptography", "structlog")


def commands(group: click.Group = cli, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None, name
        if isinstance(found, click.Group):
            yield from commands(found, (*prefix, name))
        else:
            yield (*prefix, name), found


def run(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mailrelay", *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd()), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=lambda one: " ".join(one) if isinstance(one, tuple) else ""
)
def test_every_command_has_help_with_an_example_and_json(name: tuple[str, ...], command: click.Command) -> None:
    text = " ".join((command.help or "").split())
    if name != ("message", "inspect"):
        assert f"mailrelay {' '.join(name)}" in text.partition("Example")[2]
    options = {option for parameter in command.params for option in parameter.opts}
    assert name == ("run",) or "--json" in options


def test_a_command_starts_without_what_only_the_daemon_needs(tmp_path: Path) -> None:
    program = (
        "import sys, mailrelay.cli as program\n"
        "for name in program._COMMANDS: program.cli.get_command(None, name)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_a_command_knows_by_name_is_what_there_is() -> None:
    assert tuple(Preset) == message.PRESETS
    assert tuple(Mode) == message.MODES


def test_a_mail_file_is_looked_at_without_a_daemon(tmp_path: Path) -> None:
    (tmp_path / "one.eml").write_text("From: anna@example.org\nSubject: Alone\n\nHi\n")
    done = run("message", "inspect", "--json", "one.eml", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["subject"] == "Alone"


def test_without_a_daemon_the_line_says_how_to_start_one(tmp_path: Path) -> None:
    done = run("queue", "list", folder=tmp_path)
    assert done.returncode == 69
    assert done.stdout == ""
    assert done.stderr == (
        "mailrelay: no daemon listens on data/mailrelay.sock. Start one with `mailrelay run`, or say where it is: "
        "--socket, --config or MAILRELAY_SOCKET\n"
    )


def test_a_socket_that_a_dead_daemon_left_is_no_daemon(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    assert run("queue", "list", folder=tmp_path, MAILRELAY_SOCKET=str(tmp_path / "s")).returncode == 69


def test_a_daemon_that_breaks_off_is_told_in_one_line(tmp_path: Path) -> None:
    for answer in (
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n<html>",
    ):
        with socket.socket(socket.AF_UNIX) as listening:
            path = tmp_path / f"s{len(answer)}"
            listening.bind(str(path))
            listening.listen()

            def once(listening: socket.socket = listening, answer: bytes = answer) -> None:
                peer, _ = listening.accept()
                with peer:
                    peer.recv(10_000)
                    peer.sendall(answer)

            thread = threading.Thread(target=once)
            thread.start()
            done = CliRunner().invoke(cli, ["user", "list", "--socket", str(path)])
            thread.join()
        assert done.exit_code in (69, 75), done.output
        assert done.stderr.startswith(("mailrelay: the daemon ", "mailrelay: what answers there "))
        assert done.stderr.count("\n") == 1


def test_a_text_that_is_not_utf_8_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "latin.html").write_bytes(b"<p>\xe4</p>")
    done = run(
        *("message", "send", "--from", "a@example.org", "--to", "b@example.com", "--html", "latin.html"),
        folder=tmp_path,
    )
    assert done.returncode == 66
    assert done.stderr.startswith("mailrelay: what is to be sent cannot be read: 'utf-8' codec can't decode byte 0xe4")
    assert done.stderr.count("\n") == 1


def test_the_socket_is_found_by_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("data: elsewhere\n")
    assert "no daemon listens on elsewhere/mailrelay.sock" in (
        run("queue", "list", "--config", "other.yaml", folder=tmp_path).stderr
    )
    (tmp_path / "data").mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "data" / "mailrelay.sock"))
    (tmp_path / "mailrelay.yaml").write_text("http: {socket: mine.sock}\n")
    assert "no daemon listens on mine.sock" in run("queue", "list", folder=tmp_path).stderr
    done = run("queue", "list", "--socket", "given.sock", folder=tmp_path)
    assert "no daemon listens on given.sock" in done.stderr


@pytest.mark.parametrize("command", [("check",), ("run",), ("queue", "list")])
def test_a_broken_configuration_is_78_with_a_line_for_each_fault(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "m.yaml").write_text("hostnam: a.test\nhttp: {port: many}\n")
    done = run(*command, "--config", "m.yaml", folder=tmp_path)
    assert done.returncode == 78
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0] == "m.yaml:1:1: hostnam: no such setting; did you mean hostname?"
    assert lines[1].startswith("m.yaml:2:14: http.port: ")


def test_a_configuration_that_is_not_there_is_78(tmp_path: Path) -> None:
    done = run("run", "--config", "nowhere.yaml", folder=tmp_path)
    assert (done.returncode, done.stderr) == (78, "nowhere.yaml: cannot be read: No such file or directory\n")


def test_check_says_what_the_configuration_means_and_that_no_daemon_runs(tmp_path: Path) -> None:
    done = run("check", folder=tmp_path)
    assert done.returncode == 0
    assert "The configuration is right (built-in defaults)." in done.stdout
    assert "127.0.0.1:2525" in done.stdout
    assert "stays on this machine" in done.stdout
    assert "No daemon runs on it now" in done.stdout
    found = json.loads(run("check", "--json", folder=tmp_path).stdout)
    (warning,) = found["configuration"].pop("warnings")
    assert found == {"configuration": {"name": "built-in defaults", "valid": True}, "daemon": None}
    assert "http://localhost:8026" in warning
    assert run("check", "--ready", folder=tmp_path).returncode == 69


@pytest.mark.parametrize(
    ("public", "warning"),
    [
        ("{url: 'http://links.example.org'}", "one click"),
        ("{url: 'https://links.example.org'}", "public.trusted_proxies is empty"),
        ("{url: 'https://links.example.org', trusted_proxies: [127.0.0.1/32]}", ""),
    ],
)
def test_check_says_what_a_proxy_in_front_of_the_public_door_needs(tmp_path: Path, public: str, warning: str) -> None:
    (tmp_path / "mailrelay.yaml").write_text(f"public: {public}\n")
    done = run("check", "--json", folder=tmp_path)
    found = json.loads(done.stdout)["configuration"]["warnings"]
    assert len(found) == bool(warning)
    assert warning in "".join(found)


def test_an_unknown_command_is_a_usage_error(tmp_path: Path) -> None:
    done = run("mesage", folder=tmp_path)
    assert done.returncode == 2
    assert "No such command 'mesage'" in done.stderr


def test_nobody_takes_practice_mail(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = str(closed.getsockname()[1])
        done = run(
            *("practice", "send", "--from", "a@example.org", "--to", "b@example.com"),
            *("--dropbox", "bcc-x@inbound.localhost", "--port", port),
            folder=tmp_path,
        )
    assert done.returncode == 69
    assert done.stderr == (
        f"mailrelay: nobody takes mail on 127.0.0.1:{port} (Connection refused). Start the daemon with `mailrelay run`\n"
    )


async def test_no_daemon_is_one_line_for_every_command(tmp_path: Path) -> None:
    client = Cli(tmp_path / "none.sock")
    given = {
        "file": str(tmp_path / "r.csv"),
        "settings": "plan=paid",
        "record": "contact/1",
        "to": "contact/2",
    }
    (tmp_path / "r.csv").write_text("module,id,name\n")
    for name, command in commands():
        # These need no daemon, or more than an argument that means nothing; `backup` reads the data folder itself.
        if name in (
            ("run",),
            ("check",),
            ("backup",),
            ("practice", "send"),
            ("practice", "webhook"),
            ("message", "inspect"),
            ("message", "send"),
        ):
            continue
        arguments = [
            one.type.choices[0] if isinstance(one.type, click.Choice) else given.get(one.name or "", "x")
            for one in command.params
            if isinstance(one, click.Argument)
        ]
        needed = [
            text
            for one in command.params
            if isinstance(one, click.Option) and one.required
            for text in (one.opts[0], "1")
        ]
        needed += ["--create", "lead"] if name == ("unresolved", "file") else []
        needed += ["--yes"] if name == ("address", "erase") else []
        needed += ["--text", "x"] if name == ("message", "answer") else []
        said = await client(*name, *arguments, *needed, stdin="a long enough password\n")
        assert said.status == 69, (name, said)
        assert said.error.startswith(f"mailrelay: no daemon listens on {tmp_path}/none.sock."), name


def test_a_table_on_a_terminal_keeps_ids_whole_and_wraps_the_rest(tmp_path: Path) -> None:
    program = (
        "from mailrelay.cli.show import table\n"
        "print(table([['M01M806D4YZBT1WDHXEEV', 'word ' * 40 + '[red]\\x1b[31m']], 'ID', 'TEXT'))"
    )
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=slave, env={**os.environ, "COLUMNS": "60", "TERM": "xterm"}
    ) as process:
        process.wait(30)
    os.close(slave)
    shown = os.read(master, 10_000).decode()
    os.close(master)
    assert "M01M806D4YZBT1WDHXEEV" in shown
    assert "[red]" in shown.replace("\r\n", "").replace(" ", "")
    assert "\x1b[31m" not in shown
    assert all(len(re.sub(r"\x1b\[\d+m", "", line)) <= 60 for line in shown.splitlines())
