"""R1: one command on a fresh folder, one YAML file whose errors are named by line, secrets from files or the environment."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import PROGRAM, daemon

SECRET = "a secret of more than thirty-two letters"


def run(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_one_command_on_a_fresh_folder_takes_mail_and_needs_nothing_else(tmp_path: Path) -> None:
    with daemon(tmp_path / "fresh") as relay:
        assert (relay.data / "sample.json").is_file()
        assert {one.name for one in relay.folder.iterdir()} == {"mailrelay.yaml", "data", "log"}
        (organisation,) = relay.cli("organisation", "list")
        assert organisation["domains"]
        assert relay.stop() == 0
        assert "Traceback" not in relay.log
        relay.start()
        assert relay.cli("organisation", "list") == [organisation]
        assert relay.stop() == 0


@pytest.mark.parametrize("command", ["run", "check"])
def test_all_errors_of_the_file_are_named_by_line_and_nothing_is_made(tmp_path: Path, command: str) -> None:
    (tmp_path / "bad.yaml").write_text(
        "data: data\nhttp:\n  port: 70000\ninbound:\n  max_sise: 12\n  max_recipients: no\n"
    )
    done = run(command, "--config", "bad.yaml", folder=tmp_path)
    assert (done.returncode, done.stdout) == (78, "")
    named = [line for line in done.stderr.splitlines() if "bad.yaml:" in line]
    assert [line.partition("bad.yaml:")[2].partition(":")[0] for line in named] == ["3", "5", "6"]
    assert "max_size" in named[1], "the setting that was meant is named"
    assert [one.name for one in tmp_path.iterdir()] == ["bad.yaml"]


@pytest.mark.parametrize("where", ["file", "env"])
def test_a_secret_comes_from_a_file_or_the_environment_and_is_never_shown(tmp_path: Path, where: str) -> None:
    name = "key.secret" if where == "file" else "MAILRELAY_KEY"
    (tmp_path / "good.yaml").write_text(
        f"data: data\nsecret: {{{where}: {name}}}\nhttp: {{port: 0, ops_port: 0}}\npublic: {{port: 0}}\n"
    )
    missing = run("check", "--config", "good.yaml", folder=tmp_path)
    assert missing.returncode == 78
    assert "good.yaml:2:" in missing.stderr
    assert name in missing.stderr

    environment = {name: SECRET} if where == "env" else {}
    (tmp_path / "key.secret").write_text(SECRET + "\n")
    (tmp_path / "key.secret").chmod(0o600)
    there = run("check", "--config", "good.yaml", folder=tmp_path, **environment)
    assert "good.yaml" not in there.stderr, there.stderr
    assert there.returncode != 78
    assert SECRET not in there.stdout + there.stderr


def test_a_secret_in_the_file_itself_is_refused_and_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "open.yaml").write_text(f"data: data\nsecret: {SECRET}\n")
    done = run("check", "--config", "open.yaml", folder=tmp_path)
    assert done.returncode == 78
    assert "open.yaml:2:" in done.stderr
    assert SECRET not in done.stdout + done.stderr
