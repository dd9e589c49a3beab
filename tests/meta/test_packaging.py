"""What is shipped: locks, wheel, image, service unit, and the programs that tests want."""

from __future__ import annotations

import re
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.meta.source import ROOT, run, tool
from tests.support.peers import PACKAGES, need

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)")


def _locked(name: str) -> dict[str, str]:
    """Package → version, of a lock."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))


def _names(requirements: list[str]) -> set[str]:
    return {
        match[1].lower().replace("_", "-").replace(".", "-")
        for one in requirements
        if (match := _REQUIREMENT.match(one))
    }


def test_the_locks_hold_what_the_project_asks_for() -> None:
    wanted = _names(_PROJECT["project"]["dependencies"]) | _names(
        _PROJECT["project"]["optional-dependencies"]["postgres"]
    )
    assert wanted <= _locked("requirements.lock").keys()
    assert wanted | _names(_PROJECT["dependency-groups"]["dev"]) <= _locked("requirements-dev.lock").keys()


def test_the_locks_agree_and_carry_hashes() -> None:
    run_lock, dev_lock = _locked("requirements.lock"), _locked("requirements-dev.lock")
    assert {name: dev_lock.get(name) for name in run_lock} == run_lock
    for name in ("requirements.lock", "requirements-dev.lock"):
        for block in re.split(r"\n(?=\S)", (ROOT / name).read_text(encoding="utf-8").strip()):
            assert "--hash=sha256:" in block, block.splitlines()[0]


def test_the_wheel_has_everything_in_it(tmp_path: Path) -> None:
    done = run(tool("python"), "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path)
    assert done.returncode == 0, done.stdout
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "mailrelay").rglob("*.py")}
    assert modules | {"mailrelay/py.typed"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith("tests") for name in names)


def test_hadolint_likes_the_image() -> None:
    done = run(tool("hadolint"), "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_made_of_files_that_exist() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source in allowed, f".dockerignore keeps {source} out"


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The service unit, with a program in it that is installed on this machine."""
    text = (ROOT / "systemd/mailrelay.service").read_text(encoding="utf-8")
    path = tmp_path / "mailrelay.service"
    path.write_text(text.replace("/usr/bin/mailrelay", "/bin/true"), encoding="utf-8")
    assert "/bin/true run --config" in path.read_text(encoding="utf-8")
    return path


def test_fault_o04_the_service_unit_is_verified(unit: Path) -> None:
    done = run(need("systemd-analyze"), "verify", unit)
    assert (done.returncode, done.stdout) == (0, "")


def test_fault_o04_the_service_unit_exposes_little(unit: Path) -> None:
    done = run(need("systemd-analyze"), "security", "--offline=true", "--threshold=20", "--no-pager", unit)
    assert done.returncode == 0, done.stdout


def test_the_tests_peers_are_installed_by_make_test() -> None:
    script = (ROOT / "scripts/install-peers.sh").read_text()
    lines = re.findall(r'^(?:packages|unpacked)="(.+)"$', script, re.MULTILINE)
    assert set(PACKAGES.values()) - {"systemd"} <= set(" ".join(lines).split())
