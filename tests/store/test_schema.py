"""The schema: brought up to date once, the same as the tables say, and left alone when it is newer than we are."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, make_url, text

from mailrelay.errors import StoreTooNew
from mailrelay.store import schema
from mailrelay.store.tables import metadata
from tests.store.explain import AnyStore


async def test_migrating_twice_changes_nothing(store: AnyStore) -> None:
    before, after = schema.migrate(store.engine)
    assert before == after != ""


def test_the_last_file_is_the_last_step() -> None:
    """By its name a start knows, without Alembic, that there is nothing to do."""
    steps = ScriptDirectory(str(Path(schema.__file__).parent / "migrations"))
    names = sorted(Path(step.path).name for step in steps.walk_revisions())
    assert names[-1].partition("_")[0] == steps.get_current_head()


async def test_the_steps_lead_to_the_tables(store: AnyStore) -> None:
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


async def test_the_steps_make_the_tables_word_for_word(tmp_path: Path) -> None:
    """Partial indexes, defaults and AUTOINCREMENT too, which Alembic's comparison does not look at."""
    stepped, made = (create_engine(f"sqlite:///{tmp_path / name}") for name in ("stepped.db", "made.db"))
    schema.migrate(stepped)
    metadata.create_all(made)
    assert _words(stepped) == _words(made)


def test_the_steps_make_the_indexes_of_postgresql_word_for_word(postgres_url: str) -> None:
    indexes = text(
        "SELECT replace(indexdef, schemaname || '.', '') FROM pg_indexes WHERE schemaname = current_schema()"
    )
    engine = create_engine(make_url(postgres_url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        stepped = set(connection.execute(indexes).scalars())
        connection.execute(text("CREATE SCHEMA made"))
        connection.execute(text("SET LOCAL search_path TO made"))
        metadata.create_all(connection)
        made = set(connection.execute(indexes).scalars())
    engine.dispose()
    assert {one for one in stepped if "alembic_version" not in one} == made != set()


def test_a_step_that_is_cut_off_is_not_there_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = _at_step(tmp_path)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("alembic.op.execute", cut)  # the last of step 0002
        with pytest.raises(KeyboardInterrupt):
            schema.migrate(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "0001"
        assert connection.execute(text("SELECT count(*) FROM sqlite_master WHERE name = 'feedback'")).scalar() == 0
    assert schema.migrate(engine)[0] == "0001"
    engine.dispose()


def test_what_waits_at_an_upgrade_can_be_suspended_like_what_comes(tmp_path: Path) -> None:
    engine = _at_step(tmp_path)
    waits = (
        "INSERT INTO delivery (id, org, message, queue_id, channel, mail_from, params, recipient, recipient_key, destination,"
        " state, digest, size, created_at, due_at, expires_at)"
        " VALUES (:id, 'O', 'M', 'Q', 'api', :mail_from, '{}', '{}', 'k', 'd', 'queued', '', 0, 0, 0, 0)"
    )
    with engine.begin() as connection:
        for id_, mail_from in (("D1", "anna@a.test"), ("D2", "odd@name@b.test"), ("D3", None)):
            connection.execute(text(waits), {"id": id_, "mail_from": mail_from})
    schema.migrate(engine)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT sender_domain FROM delivery ORDER BY id")).scalars().all()
    engine.dispose()
    assert found == ["a.test", "b.test", ""]


def test_mass_mail_that_an_earlier_release_left_under_way_may_have_been_taken(tmp_path: Path) -> None:
    """It wrote nothing down before a final dot (D11, M09)."""
    engine = _at_step(tmp_path, "0002")
    delivery = (
        "INSERT INTO delivery (id, org, message, queue_id, channel, mail_from, params, recipient, recipient_key, destination,"
        " state, digest, size, created_at, due_at, expires_at, attempts, job, lease_node, lease_until, fence)"
        " VALUES (:id, 'O', 'M', 'Q', 'api', 'anna@a.test', '{}', '{}', 'k', 'd', :state, '', 0, 0, 0, 0, 2, :job, 'old', 0, 1)"
    )
    attempt = "INSERT INTO attempt (delivery, number, began_at, host, outcome) VALUES (:id, :number, 0, 'h', :outcome)"
    with engine.begin() as connection:
        for id_, state, job in (("D1", "sending", "spring"), ("D2", "sending", ""), ("D3", "queued", "spring")):
            connection.execute(text(delivery), {"id": id_, "state": state, "job": job})
            connection.execute(text(attempt), {"id": id_, "number": 1, "outcome": '{"kind": "deferred"}'})
        for id_ in ("D1", "D2"):
            connection.execute(text(attempt), {"id": id_, "number": 2, "outcome": None})
    schema.migrate(engine)
    with engine.connect() as connection:
        dotted = connection.execute(text("SELECT delivery, number FROM attempt WHERE dotted")).all()
    engine.dispose()
    assert [tuple(one) for one in dotted] == [("D1", 2)]


def test_idempotency_keys_of_an_earlier_release_stand_for_what_they_did_and_are_nobodys(tmp_path: Path) -> None:
    engine = _at_step(tmp_path, "0003")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO idempotency VALUES ('O', 'k', 'sha', 'Q1', 7)"))
    schema.migrate(engine)
    with engine.begin() as connection:
        # An earlier release, at work beside the new one, names no owner.
        old = "INSERT INTO idempotency (org, key, request_sha256, queue_id, created_at) VALUES ('O', 'k', 'x', 'Q2', 8)"
        connection.execute(text(f"{old} ON CONFLICT DO NOTHING"))
        found = connection.execute(
            text('SELECT org, "by", key, request_sha256, queue_id, created_at FROM idempotency')
        ).all()
    engine.dispose()
    assert [tuple(one) for one in found] == [("O", "", "k", "sha", "Q1", 7)]


async def test_a_sender_domain_is_what_follows_the_last_at_on_either_database(store: AnyStore) -> None:
    step = importlib.import_module("mailrelay.store.migrations.versions.0002_what_comes_back")
    asked = "SELECT " + step._SENDER_DOMAIN[store.engine.dialect.name].replace("mail_from", "'odd@name@b.test'")
    with store.engine.connect() as connection:
        assert connection.execute(text(asked)).scalar() == "b.test"


def _at_step(folder: Path, step: str = "0001") -> Engine:
    engine = create_engine(f"sqlite:///{folder / 'old.db'}", connect_args={"isolation_level": None})
    with engine.begin() as connection:
        _upgrade(connection, step)
    return engine


def _upgrade(connection: Connection, step: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, step)


def _words(engine: Engine) -> dict[str, list[str]]:
    """Every table and index with the words of its SQL; their order is that of no importance in which constraints stand."""
    with engine.connect() as connection:
        found = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
    engine.dispose()
    return {
        name: sorted(re.findall(r"\w+|[^\w\s]", sql))
        for name, sql in found
        if not name.startswith(("alembic", "sqlite"))
    }


async def test_a_newer_database_is_not_touched(store: AnyStore) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreTooNew, match="9999"):
        schema.migrate(store.engine)
    with store.engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_links_that_a_bcc_made_before_are_that_arrivals_secret(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if database == "sqlite":
        engine = _at_step(tmp_path, "0003")
    else:
        url = make_url(request.getfixturevalue("postgres_url")).set(drivername="postgresql+psycopg")
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
            _upgrade(connection, "0003")
    made = (
        "INSERT INTO message (id, org, direction, queue_id, message_id, digest, raw_digest, raw_size, subject, received_at, parents,"
        " part, automatic, attachments, kind, reply)"
        " VALUES ('M', 'O', 'in', 'Q1', 'x', 'x', 'x', 1, '', 1, '[]', 0, '', '[]', 'normal', '')"
    )
    put = (
        'INSERT INTO link (message, module, record, org, rule, evidence, "by", guess, created_at)'
        " VALUES ('M', :module, :record, 'O', 'r', :evidence, :by, false, 1)"
    )

    def why(*said: tuple[str, str]) -> str:
        return json.dumps([{"because": "so", "header": header, "value": value} for header, value in said])

    links = (
        ("contact", "clear", why(("To", "bob@x.test")), "rule"),
        ("contact", "both", why(("Bcc", "bob@x.test"), ("Cc", "bob@x.test")), "rule"),
        ("contact", "blind", why(("Bcc", "eve@x.test")), "rule"),
        ("deal", "of-blind", why(("", "contact/blind")), "rule"),
        ("deal", "of-two", why(("", "contact/blind"), ("", "contact/clear")), "rule"),
        ("deal", "by-hand", why(("", "")), "U1"),
    )
    with engine.begin() as connection:
        connection.execute(text(made))
        for module, record, evidence, by in links:
            row = {"module": module, "record": record, "evidence": evidence, "by": by}
            connection.execute(text(put), row)
    schema.migrate(engine)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT record, secret FROM link WHERE secret <> '' ORDER BY record")).all()
    engine.dispose()
    assert [tuple(one) for one in found] == [("blind", "Q1"), ("of-blind", "Q1")]
