"""An S3 server (moto) on this machine, as a process of its own: it has threads and warnings that are not ours."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

from tests.support.postfix import free_port

__all__ = ["bucket_server", "free_port"]


@contextlib.contextmanager
def bucket_server(bucket: str) -> Iterator[str]:
    """The URL of a server with this bucket, ended afterwards."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                made = urllib.request.Request(f"{url}/{bucket}", method="PUT")
                with urllib.request.urlopen(made, timeout=30):
                    break
            except (OSError, urllib.error.URLError):
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(10)
