"""`make fuzz`: every target for its share of the time, from mail of our own; then what was found, without instruments, against the clock.

    python -m tests.fuzz [--seconds 60] [--target NAME]     exit status 1 and the file when something raises or takes too long
    python -m tests.fuzz --target NAME FILE                 one file again

What it finds is kept in a folder of its own outside the source, which is named at the end.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from functools import partial
from itertools import chain
from pathlib import Path

from bench import returned
from bench.find import QUESTIONS
from tests.fuzz.targets import TARGETS
from tests.support.cost import cpu

_DATA = Path(__file__).parents[1] / "data" / "bounce"
_WORDS = Path(__file__).with_name("words.dict")
_LIMIT = 0.3
"""Seconds of CPU that a target may take for one input: it reads it several times over (`test_cost` has the limit of one reading)."""
_LONGEST = 65_536
_SHOWN = 2_000


def main() -> int:
    """Run; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="of fuzzing, for all targets together")
    parser.add_argument("--target", choices=list(TARGETS), help="only this one")
    parser.add_argument("file", nargs="?", type=Path, help="a file that was found, to be tried again")
    options = parser.parse_args()
    names = [options.target] if options.target else list(TARGETS)
    if options.file:
        return _again(names, options.file)
    if importlib.util.find_spec("atheris") is None:
        print("atheris is missing (it has no wheel for this machine or Python): nothing was fuzzed", file=sys.stderr)
        return int(os.environ.get("CI") == "true")
    folder = Path(tempfile.mkdtemp(prefix="mailrelay-fuzz-"))
    _write_seeds(folder / "seeds")
    bad = [name for name in names if not _fuzz(name, folder, max(1, options.seconds // len(names)))]
    if bad:
        print(f"{', '.join(bad)}: see {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


def _write_seeds(folder: Path) -> None:
    folder.mkdir()
    ours = (path.read_bytes() for path in sorted(_DATA.rglob("*.eml")))
    made = (raw for raw in returned.mails(52) if len(raw) < _LONGEST)
    asked = (one.encode() for one in QUESTIONS)
    for number, raw in enumerate(chain(ours, made, asked)):
        (folder / f"{number:04}").write_bytes(raw)


def _fuzz(name: str, folder: Path, seconds: int) -> bool:
    """Fuzz one target; whether all is well."""
    found, kept = folder / name, folder / f"{name}-bad-"
    found.mkdir()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz.fuzzer", name, found, folder / "seeds"),
            *(f"-max_total_time={seconds}", f"-max_len={_LONGEST}", f"-artifact_prefix={kept}", f"-dict={_WORDS}"),
            *("-timeout=20", "-rss_limit_mb=1024", "-print_final_stats=1", "-verbosity=1"),
        ],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=seconds + 120,
    )
    (folder / f"{name}.log").write_text(done.stdout + done.stderr)
    executions = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
    crashes = sorted(folder.glob(f"{name}-bad-*"))
    slow = _slow(name, sorted(found.iterdir()))
    print(
        f"{name}: {executions[1] if executions else 0} executions in {seconds} s, {len(crashes)} bad, {len(slow)} slow"
    )
    for path in (*crashes, *slow):
        print(f"{path}\n{path.read_bytes()[:_SHOWN]!r}\npython -m tests.fuzz --target {name} {path}", file=sys.stderr)
    if done.returncode != 0:
        print(done.stdout[-_SHOWN:], done.stderr[-2 * _SHOWN :], file=sys.stderr)
    return done.returncode == 0 and not crashes and not slow


def _slow(name: str, files: Iterable[Path]) -> list[Path]:
    return [path for path in files if cpu(partial(TARGETS[name], path.read_bytes()))[1] > _LIMIT]


def _again(names: Iterable[str], file: Path) -> int:
    for name in names:
        _, seconds = cpu(partial(TARGETS[name], file.read_bytes()))
        print(f"{name}: {seconds * 1000:.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
