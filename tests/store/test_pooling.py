"""Behind a real PgBouncer: sessions that change hands are noticed, and nothing of ours is left in them."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, closing
from datetime import UTC
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgsched import Client
from pgsched.errors import ConfigError, DatabaseUnavailable
from pgsched.store import pooling
from pgsched.store.connecting import connect, connect_async, translated
from pgsched.store.migrating import all_migrations, migrate, needed_version, script
from pgsched.store.operation import Query
from pgsched.store.picking import database_now, pick_query, picked, survey
from pgsched.store.pooling import is_pooled, loses_session
from pgsched.store.session import Database, Session
from pgsched.store.statement import Names
from pgsched.worker.guard import Guard
from tests.pgbouncer import NO_TRACES, pgbouncer, traces

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.pgbouncer import PgBouncer


@pytest.fixture
def session(pooled: str) -> Generator[Session]:
    session = Session(Database(pooled, Names(), is_pooled=True), "test", Guard())
    with closing(session):
        yield session


def test_a_direct_connection_is_taken_for_one(database: str) -> None:
    with connect(database) as connection:
        assert not is_pooled(connection)
        assert not loses_session(connection)


@pytest.mark.parametrize("more", ["", "server_round_robin = 1\n"])
def test_a_session_that_changes_hands_is_noticed(server: str, database: str, more: str) -> None:
    """Whatever the pooler hands on, the one used last or the one that rested longest, where it has several."""
    with pgbouncer(server, "transaction", more) as pooler, ExitStack() as stack:
        conninfo = pooler.conninfo(database)
        others = [stack.enter_context(psycopg.connect(conninfo)) for _ in range(2)]
        for other in others:
            other.execute("select 1")
        for other in others:
            other.rollback()
        with connect(conninfo) as connection:
            assert loses_session(connection)


def test_a_pooler_whose_last_session_is_ours_is_not_waited_for(
    server: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for us to leave, for two minutes: without a limit of our own so would we."""
    monkeypatch.setattr(pooling, "PATIENCE_S", 0.1)
    few = "default_pool_size = 1\nquery_wait_timeout = 60\n"
    with (
        pgbouncer(server, "session", few) as pooler,
        connect(pooler.conninfo(database)) as connection,
    ):
        with pytest.raises(DatabaseUnavailable, match="no second connection"):
            loses_session(connection)
        assert connection.execute("select 1").fetchall() == [(1,)]


def test_a_pooler_in_session_mode_keeps_it(server: str, database: str) -> None:
    with (
        pgbouncer(server, "session") as pooler,
        connect(pooler.conninfo(database)) as connection,
    ):
        assert is_pooled(connection)
        assert not loses_session(connection)


async def leave_traces_async(conninfo: str) -> None:
    connection = await connect_async(conninfo)
    async with connection:
        for _ in range(7):
            await connection.execute("select 1")


def test_clients_and_workers_leave_nothing_in_the_sessions(pooled: str, session: Session) -> None:
    """Without the look at the process id (SET_IF_OURS), or with settings of the session instead of the transaction
    (`_in_each_transaction`), others would find a `statement_timeout` and plans of ours.
    """
    with Client(pooled) as client:
        for n in range(7):
            assert client.schedule("t", f"instance-{n}")
            session.run(database_now())
            rows = session.run_together([pick_query("me", ["t"], {}, limit=1)])
            assert len(rows) == 1
    asyncio.run(leave_traces_async(pooled))
    assert traces(pooled) == NO_TRACES


def test_a_statement_of_a_worker_has_its_time_limit(
    pooled: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pick that commits after all looks for strays would stay picked: without the limit this waits for ever."""
    brief = Query("set_for_transaction", {"names": ["statement_timeout"], "values": ["100"]})
    monkeypatch.setattr(session, "_in_each_transaction", brief)
    asked = pick_query("me", ["t"], {}, limit=1)
    with psycopg.connect(pooled) as locking:
        locking.execute("lock table scheduled_tasks in access exclusive mode")
        with pytest.raises(DatabaseUnavailable, match="statement timeout"):
            session.run_together([asked])
        with pytest.raises(DatabaseUnavailable, match="statement timeout"):
            session.run(single(asked))


def single(query: Query) -> Generator[Query, object, None]:
    yield query


def test_times_are_in_utc_wherever_the_server_is(
    database: str, pooled: str, session: Session
) -> None:
    """The zone of a session that is shared can't be set; with it, schedules would reckon in the server's."""
    with psycopg.connect(database, autocommit=True) as direct:
        direct.execute(
            "do $$ begin execute format("
            "'alter database %I set timezone to ''Europe/Rome''', current_database()); end $$"
        )
    with Client(pooled) as client:
        client.schedule("t", "a")
    assert session.run(database_now()).tzinfo is UTC
    marks = session.run(survey(["t"])).marks
    [rows] = session.run_together([pick_query("me", ["t"], marks, limit=1)])
    found = picked(rows)
    assert {found.at.tzinfo, found.executions[0].execution_time.tzinfo} == {UTC}


def test_lost_prepared_statements_are_explained(database: str) -> None:
    """By the server, of a statement that another session may have: some poolers hand on prepared ones."""
    with (
        connect(database) as connection,
        pytest.raises(DatabaseUnavailable, match=r"database\.pooler"),
        translated(),
    ):
        connection.execute("execute what_another_session_has")


def test_a_refused_startup_parameter_is_explained(pooled: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="leave it out of the DSN"):
        connect(make_conninfo(pooled, options="-c jit=off"))


def test_a_new_table_is_made_through_it(pooler: PgBouncer, empty_database: str) -> None:
    with connect(pooler.conninfo(empty_database)) as connection:
        assert len(migrate(connection)) == needed_version()


def test_migrating_through_it_changes_no_limit_of_others(server: str, empty_database: str) -> None:
    """The limit on statements was taken away in one session, and set back in another."""
    name = conninfo_to_dict(empty_database)["dbname"]
    with psycopg.connect(empty_database, autocommit=True) as direct:
        limit = sql.SQL("alter database {} set statement_timeout = '1min'")
        direct.execute(limit.format(sql.Identifier(str(name))))
    with pgbouncer(server, "transaction", "server_round_robin = 1\n") as pooler:
        conninfo = pooler.conninfo(empty_database)
        with psycopg.connect(conninfo) as one, psycopg.connect(conninfo) as other:
            one.execute("select 1")
            other.execute("select 1")
        with connect(conninfo) as connection:
            migrate(connection)
        assert {timeout for _, _, timeout, *_ in traces(conninfo)} == {"1min"}


def test_a_lock_that_it_would_lose_is_not_taken(pooler: PgBouncer, empty_database: str) -> None:
    """Left in a session that others get, it would keep every later migration waiting."""
    with psycopg.connect(empty_database, autocommit=True) as direct:
        direct.execute(script(all_migrations()[:3]).encode())
    with connect(pooler.conninfo(empty_database)) as connection:
        with pytest.raises(ConfigError, match="holds a lock over several transactions"):
            migrate(connection)
        held = connection.execute("select count(*) from pg_locks where locktype = 'advisory'")
        assert held.fetchone() == (0,)
