"""One target under atheris: `python -m tests.fuzz.fuzzer TARGET [libFuzzer's arguments]`. Started by `tests.fuzz`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["mailrelay.mail", "mailrelay.query"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until libFuzzer ends it."""
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
