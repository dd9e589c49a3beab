"""The source tree as the meta tests read it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package, by its path below the root."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_bytes())
        for path in sorted((ROOT / "mailrelay").rglob("*.py"))
    }


def strings(tree: ast.AST) -> Iterator[ast.Constant]:
    """Every string constant that is not a docstring or a sentence standing alone."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node


def tracked() -> list[Path]:
    """Every file that belongs to the project and is there."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program in the root; what it says is in `stdout`, both streams together."""
    return subprocess.run(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100, check=False
    )


def tool(name: str) -> Path:
    """A program of the virtual environment that runs the tests."""
    return Path(sys.executable).with_name(name)
