"""DKIM verifiers that are not ours: dkimpy in a process of its own, and OpenDKIM's filter in its test mode."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.peers import need

Keys = Mapping[str, str]
"""DNS name of a key → its TXT record."""

# A process of its own, so that none of our replacements is in it.
_DKIMPY = """
import json, sys, dkim
keys = json.loads(sys.argv[1])
message = dkim.DKIM(sys.stdin.buffer.read())
lookup = lambda name, timeout=5: keys[name.decode().rstrip(".")].encode()
print(*[message.verify(index, dnsfunc=lookup) for index in range(int(sys.argv[2]))])
"""


def wire(stored: bytes) -> bytes:
    """A mail as it was on the wire, from how a mailbox on Unix keeps it."""
    return stored.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def dkimpy(raw: bytes, keys: Keys) -> list[bool]:
    """For each signature, whether dkimpy verifies it."""
    done = subprocess.run(
        [sys.executable, "-c", _DKIMPY, json.dumps(dict(keys)), str(raw.count(b"DKIM-Signature:"))],
        input=raw,
        capture_output=True,
        check=True,
        timeout=30,
    )
    return [word == "True" for word in done.stdout.decode().split()]


def opendkim(raw: bytes, keys: Keys, folder: Path) -> list[str]:
    """For each signature, OpenDKIM's own verdict: `pass rsa-sha256 example.org`. `folder` holds its files."""
    message, conf = folder / "message.eml", folder / "opendkim.conf"
    message.write_bytes(raw)
    (folder / "keys").write_text("".join(f"{name} {text}\n" for name, text in keys.items()))
    conf.write_text(f"Mode v\nSyslog no\nTestDNSData file:{folder}/keys\n")
    done = subprocess.run(
        [need("opendkim"), "-x", conf, "-t", message, "-vv"], capture_output=True, text=True, timeout=30, check=True
    )
    results = [part.split() for part in done.stdout.split(";") if part.strip().startswith("dkim=")]
    return [f"{words[0][5:]} {_word(words, 'header.a=')} {_word(words, 'header.d=')}" for words in results]


def _word(words: list[str], start: str) -> str:
    return next((word.removeprefix(start) for word in words if word.startswith(start)), "")
