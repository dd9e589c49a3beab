"""Broken configurations, a file each, with the exact errors that each must give (fault O01)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mailrelay.config.load import load
from mailrelay.errors import ConfigError

_HERE = Path(__file__).parent
_CASES = sorted(_HERE.glob("[0-9][0-9]-*.yaml"))
_ENVIRON = {"EMPTY": "", "SHORT": "only a few letters", "LONG": "k" * 40, "TWO_LINES": "first line\nsecond line"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the cases are read in; what lies beside them is what they may name."""
    for name, mode, content in (
        ("open.secret", 0o644, b"a secret that everyone may read, 40 letters"),
        ("empty.secret", 0o600, b"\n"),
        ("latin.secret", 0o600, b"caf\xe9 and thirty more letters, so it is long enough"),
        ("good.secret", 0o600, b"a secret of more than thirty-two letters\n"),
        ("large.secret", 0o600, b"x" * 10_001),
        ("good.pem", 0o600, b"not looked at here"),
    ):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(mode)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.stem)
def test_fault_o01_a_broken_configuration_gives_exactly_its_errors(case: Path, folder: Path) -> None:
    shutil.copy(case, folder)
    with pytest.raises(ConfigError) as raised:
        load(Path(case.name), environ=_ENVIRON)
    assert list(raised.value.errors) == case.with_suffix(".txt").read_text(encoding="utf-8").splitlines()


def test_fault_o01_there_are_enough_cases_and_each_has_its_errors() -> None:
    assert len(_CASES) >= 35
    assert {case.stem for case in _CASES} == {case.stem for case in _HERE.glob("*.txt")}
    assert len({case.name[:2] for case in _CASES}) == len(_CASES), "two cases have the same number"
