"""PostgreSQL that fails is a typed error with its address (R41), and its password stays secret (R27)."""

from __future__ import annotations

import gc
import logging
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest

from rxruns.cursors import PostgresCursors
from rxruns.cursors._postgres import _CREATE
from rxruns.errors import InvalidArgumentError, RunsError, StoreError
from tests.conftest import HANG, ROOT
from tests.making import OTHER_RUN, RUN
from tests.postgres import PASSWORD, Postgres
from tests.texts import Texts


@pytest.fixture
def name(postgres: Postgres) -> Iterator[str]:
    """An empty database."""
    with postgres.database() as name:
        yield name


@pytest.fixture
def store(postgres: Postgres, name: str) -> Iterator[PostgresCursors]:
    with PostgresCursors(postgres.url(name)) as store:
        yield store


def check_error(error: StoreError) -> None:
    """Check that an error names its database, also after pickling, and that its cause is psycopg's."""
    assert "host=127.0.0.1" in error.path
    assert error.path in str(error)
    assert str(error) == str(pickle.loads(pickle.dumps(error)))
    assert isinstance(error.__cause__, psycopg.Error)


# ---- use ----


def test_a_cursor_outlives_its_store(postgres: Postgres, name: str) -> None:
    with PostgresCursors(postgres.dsn(name)) as store:
        store.set(RUN, 9)
        store.set(RUN, 3)
    with PostgresCursors(postgres.url(name)) as store:
        assert (9, 0) == (store.get(str(RUN)), store.get(OTHER_RUN))
        store.forget(RUN)
        assert 0 == store.get(RUN)


def test_a_store_can_be_closed_twice_and_not_used_afterwards(store: PostgresCursors) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="the store is closed"):
        store.get(RUN)


def test_a_store_that_was_never_closed_leaves_no_warning(postgres: Postgres, name: str) -> None:
    PostgresCursors(postgres.dsn(name)).set(RUN, 41)
    gc.collect()


def test_a_session_that_the_server_ends_is_opened_again(
    postgres: Postgres, store: PostgresCursors, name: str
) -> None:
    store.set(RUN, 3)
    others = f"FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    postgres.run(f"SELECT pg_terminate_backend(pid) {others}", name)
    store.set(RUN, 4)
    assert 4 == store.get(RUN)


@pytest.mark.parametrize("fast", [True, False])
def test_a_cursor_is_stored_and_a_lease_kept_across_a_restart_of_the_server(
    postgres: Postgres, store: PostgresCursors, fast: bool
) -> None:
    lease = store.claim(RUN)
    assert lease is not None
    lease.set(3)
    postgres.stop(fast=fast)
    stored = threading.Event()

    def store_cursor() -> None:
        lease.set(4)
        stored.set()

    thread = threading.Thread(target=store_cursor)
    thread.start()
    postgres.start()
    assert stored.wait(HANG)
    thread.join(HANG)
    assert (4, True) == (store.get(RUN), lease.is_held)


def test_a_later_store_needs_no_right_to_create_tables(postgres: Postgres, name: str) -> None:
    PostgresCursors(postgres.url(name)).close()
    with role(postgres, name, "GRANT SELECT, INSERT, UPDATE ON rxruns_cursors TO {role}") as user:
        with PostgresCursors(postgres.url(name, user=user)) as store:
            lease = store.claim(RUN)
            assert lease is not None
            lease.finish(3)
            assert store.ended(RUN)
            with pytest.raises(StoreError, match="permission denied"):
                store.forget(RUN)


def test_a_schema_of_the_search_path_is_used(postgres: Postgres, name: str) -> None:
    postgres.run("CREATE SCHEMA own", name)
    with PostgresCursors(f"{postgres.dsn(name)} options='-c search_path=own'") as store:
        store.set(RUN, 3)
    assert [(3,)] == postgres.run("SELECT seq FROM own.rxruns_cursors", name)


def test_the_isolation_level_of_the_database_does_not_matter(postgres: Postgres, name: str) -> None:
    postgres.run(f"ALTER DATABASE {name} SET default_transaction_isolation = serializable", name)
    with PostgresCursors(postgres.url(name)) as store:
        begin = threading.Barrier(4)
        numbers: list[int] = []

        def claim() -> None:
            with PostgresCursors(postgres.url(name)) as own:
                begin.wait(HANG)
                for _ in range(20):
                    lease = own.claim(RUN)
                    if lease is not None:
                        numbers.append(lease.number)
                        lease.release()

        threads = [threading.Thread(target=claim) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(HANG)
        assert numbers
        assert list(range(1, len(numbers) + 1)) == sorted(numbers)
        assert 0 == store.get(RUN)


def test_the_table_is_the_documented_one() -> None:
    page = (ROOT / "docs/howto/share-runs.md").read_text("utf-8")
    assert [_CREATE.strip()] == re.findall(r"^```sql\n(.*?)\n```$", page, re.DOTALL | re.MULTILINE)


# ---- R41 ----


@contextmanager
def role(postgres: Postgres, name: str, *grants: str) -> Iterator[str]:
    """Yield a user with few rights."""
    user = f"worker_of_{name}"
    postgres.run(f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'")
    for grant in grants:
        postgres.run(grant.format(role=user), name)
    try:
        yield user
    finally:
        postgres.run(f"DROP OWNED BY {user}", name)
        postgres.run(f"DROP ROLE {user}")


def _with(statement: str) -> Callable[[Postgres, str], str]:
    def change(postgres: Postgres, name: str) -> str:
        postgres.run(statement.format(name=name), name)
        return postgres.url(name)

    return change


UNUSABLE: dict[str, Callable[[Postgres, str], str]] = {
    "a wrong password": lambda postgres, name: postgres.url(name, "wr0ng-p4ssw0rd"),
    "an unknown user": lambda postgres, name: postgres.url(name, user="stranger"),
    "an unknown database": lambda postgres, name: postgres.url("elsewhere"),
    "no server": lambda postgres, name: f"postgresql://admin:{PASSWORD}@127.0.0.1:1/{name}",
    "an unknown option": lambda postgres, name: f"{postgres.url(name)}?sslmode=maybe",
    "a read-only database": _with("ALTER DATABASE {name} SET default_transaction_read_only = on"),
    "another table": _with("CREATE TABLE rxruns_cursors (name text)"),
    "a table without a key": _with(
        "CREATE TABLE rxruns_cursors AS SELECT gen_random_uuid() AS run_id, 1 AS seq, false AS ended, "
        "'' AS owner, 1 AS number, now() AS expires"
    ),
    "a table of other types": _with(
        "CREATE TABLE rxruns_cursors (run_id text PRIMARY KEY, seq bigint, ended boolean, owner text, "
        "number bigint, expires timestamptz)"
    ),
    "a view": _with(
        "CREATE VIEW rxruns_cursors AS SELECT gen_random_uuid() AS run_id, 1 AS seq, false AS ended, "
        "'' AS owner, 1 AS number, now() AS expires"
    ),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_R41_an_unusable_database_is_a_store_error_with_its_address(
    what: str, postgres: Postgres, name: str
) -> None:
    dsn = UNUSABLE[what](postgres, name)
    with pytest.raises(StoreError) as refused:
        PostgresCursors(dsn)
    check_error(refused.value)


@pytest.mark.parametrize("grants", [(), ("GRANT SELECT ON rxruns_cursors TO {role}",)])
def test_R41_missing_rights_are_a_store_error(
    postgres: Postgres, store: PostgresCursors, name: str, grants: tuple[str, ...]
) -> None:
    with (
        role(postgres, name, *grants) as user,
        pytest.raises(StoreError, match="permission denied") as refused,
    ):
        PostgresCursors(postgres.url(name, user=user))
    check_error(refused.value)


def test_R41_the_missing_right_to_create_the_table_is_a_store_error(postgres: Postgres, name: str) -> None:
    postgres.run("REVOKE CREATE ON SCHEMA public FROM PUBLIC", name)
    with role(postgres, name) as user, pytest.raises(StoreError, match="could not be created") as refused:
        PostgresCursors(postgres.url(name, user=user))
    check_error(refused.value)


BREAKS = {
    "its table is dropped": "DROP TABLE rxruns_cursors",
    "a column is renamed": "ALTER TABLE rxruns_cursors RENAME seq TO cursor",
    "its key is dropped": "ALTER TABLE rxruns_cursors DROP CONSTRAINT rxruns_cursors_pkey",
}


@pytest.mark.parametrize("what", BREAKS)
def test_R41_a_table_that_breaks_in_use_is_a_store_error(
    what: str, postgres: Postgres, store: PostgresCursors, name: str
) -> None:
    store.set(RUN, 41)
    postgres.run(BREAKS[what], name)
    with pytest.raises(StoreError) as refused:
        store.set(RUN, 42)
    check_error(refused.value)


def test_R41_a_locked_table_is_a_store_error_after_the_timeout(postgres: Postgres, name: str) -> None:
    with PostgresCursors(postgres.url(name), lease=0.5) as store:
        store.set(RUN, 41)
        with psycopg.connect(postgres.dsn(name)) as locking:
            locking.execute("LOCK TABLE rxruns_cursors")
            with pytest.raises(StoreError, match="statement timeout") as refused:
                store.set(RUN, 42)
        check_error(refused.value)
        store.set(RUN, 43)
        assert 43 == store.get(RUN)


def test_R41_a_server_that_hangs_is_a_store_error(postgres: Postgres, name: str) -> None:
    with PostgresCursors(postgres.url(name), lease=0.5) as store:
        store.set(RUN, 41)
        with postgres.frozen(), pytest.raises(StoreError, match="didn't answer for 4 s") as refused:
            store.set(RUN, 42)
        check_error(refused.value)
        store.set(RUN, 43)
        assert 43 == store.get(RUN)


def test_R41_a_server_that_stays_away_is_a_store_error_and_costs_no_stored_cursor(
    postgres: Postgres, name: str
) -> None:
    with PostgresCursors(postgres.url(name), lease=0.5) as store:
        lease = store.claim(RUN)
        assert lease is not None
        lease.set(41)
        postgres.stop()
        try:
            with pytest.raises(StoreError) as refused:
                lease.set(42)
        finally:
            postgres.start()
        check_error(refused.value)
        assert 41 == store.get(RUN)


# ---- the password ----

SECRET = "hunter2-Zq9-secret"
FRAGMENTS = ("hunter2", "Zq9")


@pytest.fixture
def texts(caplog: pytest.LogCaptureFixture) -> Iterator[Texts]:
    texts = Texts(frames_without=__file__)
    with caplog.at_level(logging.DEBUG):
        yield texts
    texts.texts += [text for record in caplog.records for text in (record.getMessage(), repr(record.args))]
    assert [] == [text for text in texts.texts if any(part in text for part in FRAGMENTS)]


DSNS: dict[str, Callable[[int], str]] = {
    "URL": lambda port: f"postgresql://admin:{SECRET}@127.0.0.1:{port}/postgres",
    "URL, encoded": lambda port: f"postgresql://admin:hunter2%2FZq9@127.0.0.1:{port}/postgres",
    "URL, query": lambda port: f"postgresql://127.0.0.1:{port}/postgres?user=admin&password={SECRET}",
    "pairs": lambda port: f"host=127.0.0.1 port={port} user=admin password={SECRET} dbname=postgres",
    "pairs, quoted": lambda port: f"host=127.0.0.1 port={port} user=admin password='hunter2 \\'Zq9'",
    "no server": lambda port: f"postgresql://admin:{SECRET}@127.0.0.1:1/postgres",
    "no host": lambda port: f"postgresql://admin:{SECRET}@no-such-host.invalid/postgres",
    "password of a key": lambda port: f"host=127.0.0.1 port={port} user=a password=b sslpassword={SECRET}",
    "an unencoded @": lambda port: "postgresql://admin:a@hunter2@127.0.0.1/postgres",
    "an unencoded /": lambda port: "postgresql://admin:hunter2/Zq9@127.0.0.1/postgres",
    "an unencoded / after digits": lambda port: "postgresql://admin:5432/hunter2@127.0.0.1/postgres",
    "an unencoded ?": lambda port: "postgresql://admin:hunter2?Zq9@127.0.0.1/postgres",
    "an unencoded #": lambda port: "postgresql://admin:hunter2#Zq9@127.0.0.1/postgres",
    "an unencoded %": lambda port: "postgresql://admin:hunter2%Zq9@127.0.0.1/postgres",
    "an unquoted blank": lambda port: f"host=127.0.0.1 port={port} password=hunter2 Zq9",
    "an open quote": lambda port: f"host=127.0.0.1 port={port} password='hunter2-Zq9",
    "another scheme": lambda port: f"postgres+psycopg://admin:{SECRET}@127.0.0.1/postgres",
    "a NUL character": lambda port: f"host=127.0.0.1 password={SECRET}\0",
    "a lone surrogate": lambda port: f"host=127.0.0.1 password={SECRET}\ud800",
}


@pytest.mark.parametrize("kind", DSNS)
def test_R27_a_password_of_a_connection_string_is_in_no_text(
    kind: str, postgres: Postgres, texts: Texts
) -> None:
    with pytest.raises(RunsError) as refused:
        PostgresCursors(DSNS[kind](postgres.port))
    texts.add(refused.value)


def test_R27_a_password_of_the_environment_is_in_no_text(
    postgres: Postgres, texts: Texts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)
    with pytest.raises(StoreError, match="password authentication failed") as refused:
        PostgresCursors(f"host=127.0.0.1 port={postgres.port} user=admin dbname=postgres")
    texts.add(refused.value)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    PostgresCursors(f"host=127.0.0.1 port={postgres.port} user=admin dbname=postgres").close()


def test_R27_a_store_in_use_hides_its_password(postgres: Postgres, name: str, texts: Texts) -> None:
    with ExitStack() as stack:
        postgres.run(f"CREATE ROLE secretive LOGIN SUPERUSER PASSWORD '{SECRET}'")
        stack.callback(postgres.run, "DROP ROLE secretive")
        store = stack.enter_context(PostgresCursors(postgres.url(name, SECRET, "secretive"), lease=0.5))
        lease = store.claim(RUN)
        texts.add(store, lease, vars(store))
        postgres.run("DROP TABLE rxruns_cursors", name)
        with pytest.raises(StoreError) as refused:
            store.set(RUN, 3)
        texts.add(refused.value)
        postgres.stop()
        try:
            with pytest.raises(StoreError) as refused:
                store.get(RUN)
        finally:
            postgres.start()
        texts.add(refused.value)
        store.close()
        with pytest.raises(StoreError) as refused:
            store.get(RUN)
        texts.add(refused.value)
        postgres.run("REASSIGN OWNED BY secretive TO admin", name)


@pytest.mark.parametrize("dsn", [None, 5, b"dbname=a", ["dbname=a"]])
def test_a_connection_string_that_is_not_text_is_refused(dsn: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="^dsn must be a connection string"):
        PostgresCursors(dsn)
