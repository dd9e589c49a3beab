"""What a tracked copy costs, and whether every HTML of a folder of mails comes through it whole (O9).

    python -m bench.rewrite [--rounds 200] [--corpus FOLDER]

Milliseconds of processor time for a letter of 50 KB with 40 links, by transfer encoding: for the first recipient, and for each other.
With a folder: each HTML part of its mails is rewritten, compared with the original byte for byte, and read by a browser's parser before
and after (`tests.unit.tracking.test_rewrite.check`).
"""

from __future__ import annotations

import argparse
import base64
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mailrelay.ids import DeliveryId
from mailrelay.mail.compose import quoted_printable
from mailrelay.mail.structure import find_parts
from mailrelay.tracking.copies import Tracking, forget, tracked_copy
from mailrelay.tracking.links import LinkRules
from mailrelay.tracking.rewrite import safe_charset
from mailrelay.tracking.token import Keys
from tests.unit.tracking.test_rewrite import check

_TRACKING = Tracking(
    delivery=DeliveryId("D01JB2C3D4E5F6G7H8J9K"),
    base="https://links.acme.example",
    rules=LinkRules(host="links.acme.example"),
    keys=Keys.derive(b"bench"),
)
_HEAD = "From: a@acme.example\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: {}\r\n\r\n"
_ROW = (
    '<tr><td class="x" align="left" style="font-family:Arial, sans-serif;padding:10px 20px"><p style="margin:0">Some text &amp; more of it, '
    'for a while. <b>bold</b></p><img src="https://img.example/a.png" width="100" height="50" alt="x"><a href="https://shop.example/products/{}'
    '?utm_source=newsletter&amp;utm_medium=email&amp;utm_campaign=spring" style="color:#0000ee" target="_blank">Read more</a></td></tr>\r\n'
)
_FILLER = '<tr><td style="padding:0"><span style="font-size:12px">word word word word</span></td></tr>\r\n'
_SIZE, _LINKS = 50_000, 40


def letter() -> bytes:
    """A newsletter of 50 KB with 40 links."""
    rows = "".join(_ROW.format(n) for n in range(_LINKS))
    filler = _FILLER * ((_SIZE - len(rows)) // len(_FILLER))
    return (
        f"<!DOCTYPE html><html><head><title>x</title></head><body><table>{rows}{filler}</table></body></html>".encode()
    )


def milliseconds(raw: bytes, rounds: int, *, anew: bool) -> float:
    """The least processor time of so many copies; `anew`: as if nobody had got one yet."""
    best = float("inf")
    for _ in range(rounds):
        if anew:
            forget()
        began = time.process_time()
        tracked_copy(raw, _TRACKING)
        best = min(best, time.process_time() - began)
    return best * 1000


def parts(folder: Path) -> Iterator[tuple[Path, bytes, str]]:
    """Every HTML part of the mails in a folder: decoded, and its charset."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        root, _ = find_parts(path.read_bytes())
        for part in root.walk():
            if part.type == "text/html":
                yield path, part.decoded(), part.parameters.get("charset", "")


def main() -> None:
    """Measure, and check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--corpus", type=Path)
    options = parser.parse_args()
    html = letter()
    for encoding, body in (
        ("8bit", html),
        ("quoted-printable", quoted_printable(html)),
        ("base64", base64.encodebytes(html)),
    ):
        raw = _HEAD.format(encoding).encode() + body
        first, other = (milliseconds(raw, options.rounds, anew=anew) for anew in (True, False))
        print(f"{encoding}: {first:.2f} ms, then {other:.2f} ms")
    if options.corpus is None:
        return
    found: Counter[str] = Counter()
    for path, part, charset in parts(options.corpus):
        name = safe_charset(part, charset)
        try:
            done = check(part, charset=charset, codec=name if name not in ("", "ascii") else "utf-8")
        except AssertionError:
            done = None
            print(f"CHANGED {path}")
        found[{True: "rewritten", False: "left as they are", None: "changed elsewhere"}[done]] += 1
    print(", ".join(f"{number} {what}" for what, number in sorted(found.items())))


if __name__ == "__main__":
    main()
