"""Client and AsyncClient: the same promises, from a conninfo, a pool, or the caller's own connection."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

import pgsched
from pgsched import (
    AsyncClient,
    Client,
    ConfigError,
    DatabaseUnavailable,
    ExecutionNotFound,
    FailedExecution,
    InvalidData,
    NewExecution,
    SchemaMismatch,
    State,
    one_time,
)
from pgsched.store.scheduling import CHUNK

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

FUTURE = datetime(2100, 1, 1, tzinfo=UTC)
WAIT_S = 10.0


@one_time("mail")
def mail() -> None: ...


class Called:
    """An AsyncClient called like a Client, so that one test speaks for both."""

    def __init__(self, client: AsyncClient, runner: asyncio.Runner) -> None:
        self._client = client
        self._runner = runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *args, **kwargs: self._runner.run(method(*args, **kwargs))


@contextmanager
def sync_client(kind: str, conninfo: str) -> Generator[Any]:
    match kind:
        case "conninfo":
            with Client(conninfo) as client:
                yield client
        case "pool":
            with ConnectionPool(conninfo, open=True) as pool:
                yield Client(pool)
        case _:
            with psycopg.connect(conninfo, autocommit=True) as connection:
                yield Client(connection)


@asynccontextmanager
async def opened(kind: str, conninfo: str) -> AsyncGenerator[AsyncClient]:
    match kind:
        case "conninfo":
            async with AsyncClient(conninfo) as client:
                yield client
        case "pool":
            async with AsyncConnectionPool(conninfo, open=False) as pool:
                yield AsyncClient(pool)
        case _:
            async with await psycopg.AsyncConnection.connect(
                conninfo, autocommit=True
            ) as connection:
                yield AsyncClient(connection)


@pytest.fixture(params=["conninfo", "pool", "connection"])
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, source: str, database: str) -> Generator[Any]:
    """Each of the six ways to be a client."""
    if request.param == "sync":
        with sync_client(source, database) as found:
            yield found
        return
    with asyncio.Runner() as runner:
        context = opened(source, database)
        yield Called(runner.run(context.__aenter__()), runner)
        runner.run(context.__aexit__(None, None, None))


def test_an_execution_from_schedule_to_cancel(client: Any) -> None:
    assert client.schedule(mail, "a", {"to": "ada"}, at=FUTURE, priority=3) is True
    assert client.schedule("mail", "a", {"to": "bob"}) is False
    found = client.get("mail", "a")
    assert (found.task_data, found.execution_time, found.priority) == ({"to": "ada"}, FUTURE, 3)
    assert (found.state, found.version, found.picked) == (State.SCHEDULED, 1, False)
    assert client.reschedule("mail", "a", in_=timedelta(0), data=[1], priority=None) is None
    found = client.get(mail, "a")
    assert (found.task_data, found.priority, found.state, found.version) == ([1], None, "due", 2)
    assert client.cancel(mail, "a") is None
    assert client.get("mail", "a") is None
    with pytest.raises(ExecutionNotFound):
        client.cancel("mail", "a")


def test_many_are_scheduled_in_all_forms_and_the_new_ones_counted(client: Any) -> None:
    many = [
        ("mail", "a"),
        (mail, "b", {"n": 1}),
        NewExecution("mail", "c", None, FUTURE, 7),
        ("mail", "a", "again"),
    ]
    assert client.schedule_many(many, at=FUTURE + timedelta(days=1), priority=1) == 3
    assert client.schedule_many(many) == 0
    assert client.schedule_many([]) == 0
    assert [(e.task_instance, e.priority) for e in client.list()] == [("c", 7), ("a", 1), ("b", 1)]


def test_one_bad_execution_among_many_leaves_none(client: Any) -> None:
    for bad in (
        ("mail", "x", float("nan")),
        ("mail",),
        "mail",
        ("mail", "x", None, FUTURE.replace(tzinfo=None)),
    ):
        with pytest.raises(InvalidData):
            client.schedule_many([("mail", "a"), bad])
    assert client.list() == []


def test_lists_are_of_a_task_a_state_a_length(client: Any, database: str) -> None:
    client.schedule_many([("mail", "a"), ("other", "b")])
    client.schedule("mail", "c", at=FUTURE)
    with psycopg.connect(database) as connection:
        connection.execute(
            "insert into scheduled_tasks_failed (task_name, task_instance, execution_time, consecutive_failures,"
            " version, crashes, attempts, error) values ('mail', 'd', now(), 1, 2, 0, 1, 'no')"
        )
    assert [e.task_instance for e in client.list(task=mail)] == ["a", "c", "d"]
    assert [e.task_instance for e in client.list(state="due")] == ["a", "b"]
    assert [e.task_instance for e in client.list(state=State.SCHEDULED)] == ["c"]
    assert len(client.list(limit=1)) == 1
    [failed] = client.list(state="failed")
    assert isinstance(failed, FailedExecution)
    assert (failed.error, failed.attempts, failed.state) == ("no", 1, "failed")
    client.retry("mail", "d")
    client.schedule("mail", "e")
    with pytest.raises(ExecutionNotFound):
        client.discard("mail", "d")
    with pytest.raises(ValueError, match="late"):
        client.list(state="late")


@pytest.mark.parametrize(
    "arguments",
    [
        {"at": datetime(2027, 1, 1)},
        {"at": FUTURE, "in_": timedelta(1)},
        {"data": float("inf")},
        {"data": "\0"},
        {"priority": 2**40},
        {"in_": timedelta(-1)},
    ],
)
def test_what_can_not_be_scheduled_is_a_value_error_before_anything_is_sent(
    client: Any, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 the promise is the class
        client.schedule("mail", "a", **arguments)
    assert client.list() == []


# The caller's own connection


def test_what_a_caller_rolls_back_never_was(database: str) -> None:
    with psycopg.connect(database) as connection:
        client = Client(connection)
        assert client.schedule("mail", "a")
        assert client.schedule_many([("mail", "b"), ("mail", "c")]) == 2
        connection.rollback()
        assert client.list() == []
        client.schedule("mail", "d")
        connection.commit()
    with Client(database) as other:
        assert [e.task_instance for e in other.list()] == ["d"]


@pytest.mark.parametrize("count", [1, 2, CHUNK + 1])
def test_what_begins_a_callers_transaction_does_not_end_it(database: str, count: int) -> None:
    wanted = [("mail", f"{n}") for n in range(count)]
    with psycopg.connect(database) as connection:
        assert Client(connection).schedule_many(wanted) == count
        connection.rollback()
        assert Client(connection).list() == []


@pytest.mark.parametrize("count", [1, 2, CHUNK + 1])
def test_nor_does_it_with_asyncio(database: str, count: int) -> None:
    async def check() -> None:
        wanted = [("mail", f"{n}") for n in range(count)]
        async with await psycopg.AsyncConnection.connect(database) as connection:
            assert await AsyncClient(connection).schedule_many(wanted) == count
            await connection.rollback()
            assert await AsyncClient(connection).list() == []

    asyncio.run(check())


def test_many_are_scheduled_all_or_none(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "alter table scheduled_tasks add constraint odd check (task_instance <> 'last')"
        )
        wanted = [*(("mail", f"{n}") for n in range(CHUNK)), ("mail", "last")]
        with Client(database) as client, pytest.raises(InvalidData):
            client.schedule_many(wanted)
        with pytest.raises(psycopg.errors.CheckViolation):
            Client(connection).schedule_many(wanted)
        assert Client(connection).list() == []


def test_an_error_of_ours_leaves_the_callers_transaction_usable(database: str) -> None:
    with psycopg.connect(database) as connection:
        client = Client(connection)
        client.schedule("mail", "a")
        with pytest.raises(ExecutionNotFound):
            client.cancel("mail", "nobody")
        with pytest.raises(InvalidData):
            client.schedule_many([("mail", "b"), ("mail", "c", float("nan"))])
        connection.commit()
        assert [e.task_instance for e in client.list()] == ["a"]


def test_a_callers_connection_may_be_set_up_in_any_way(database: str) -> None:
    with psycopg.connect(
        database,
        row_factory=dict_row,
        cursor_factory=psycopg.ClientCursor,
        prepare_threshold=None,
        options="-c TimeZone=Asia/Tokyo",
    ) as connection:
        client = Client(connection)
        client.schedule("mail", "a", {"n": 1}, at=FUTURE)
        found = client.get("mail", "a")
        assert found is not None
        assert (found.execution_time, found.execution_time.tzinfo) == (FUTURE, UTC)
        with connection.pipeline():
            client.schedule("mail", "b")
        assert len(client.list()) == 2


def test_who_has_a_pipeline_open_keeps_no_notification_of_others_back(database: str) -> None:
    """What is sent in it commits when its caller syncs, which may be long after."""
    with (
        psycopg.connect(database, autocommit=True) as listening,
        psycopg.connect(database, autocommit=True) as callers,
        Client(database) as other,
    ):
        listening.execute('listen "pgsched.scheduled_tasks"')
        with callers.pipeline():
            assert Client(callers).schedule("mail", "a")
            assert other.schedule("mail", "b")
            assert len(list(listening.notifies(timeout=WAIT_S, stop_after=1))) == 1
        assert len(list(listening.notifies(timeout=WAIT_S, stop_after=1))) == 1


def test_what_a_pipeline_commits_later_is_told_whoever_notifies_now(database: str) -> None:
    async def check() -> None:
        with psycopg.connect(database, autocommit=True) as listening, listening.cursor() as other:
            listening.execute('listen "pgsched.scheduled_tasks"')
            other.execute("select pg_advisory_lock(hashtextextended('pgsched.scheduled_tasks', 0))")
            connection = await psycopg.AsyncConnection.connect(database, autocommit=True)
            async with connection, connection.pipeline():
                assert await AsyncClient(connection).schedule("mail", "a")
            assert len(list(listening.notifies(timeout=WAIT_S, stop_after=1))) == 1

    asyncio.run(check())


def test_psycopgs_errors_reach_a_caller_as_they_are(empty_database: str) -> None:
    with (
        psycopg.connect(empty_database) as connection,
        pytest.raises(psycopg.errors.UndefinedTable),
    ):
        Client(connection).schedule("mail", "a")


# A connection of the client's own


def test_a_missing_schema_and_a_missing_server_are_our_errors(empty_database: str) -> None:
    with Client(empty_database) as client, pytest.raises(SchemaMismatch, match="pgsched migrate"):
        client.list()
    with (
        Client("host=127.0.0.1 port=1 user=app password=secret connect_timeout=2") as client,
        pytest.raises(DatabaseUnavailable) as refused,
    ):
        client.list()
    assert "secret" not in str(refused.value)


def test_a_dsn_that_can_not_be_read_is_not_shown() -> None:
    with Client("postgres//app:secret@host") as client, pytest.raises(ConfigError) as refused:
        client.list()
    assert "secret" not in str(refused.value)


def test_a_client_whose_connection_broke_while_it_was_idle_connects_again(database: str) -> None:
    with Client(database) as client, psycopg.connect(database, autocommit=True) as other:
        client.schedule("mail", "a")
        other.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        assert len(client.list()) == 1


def test_threads_may_share_a_client(database: str) -> None:
    with Client(database) as client:
        threads = [
            threading.Thread(
                target=lambda n=n: [client.schedule("mail", f"{n}-{m}") for m in range(20)]
            )
            for n in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(client.list()) == 100


@pytest.mark.parametrize("target", [5, None, object()])
def test_anything_else_is_refused(target: Any) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(TypeError, match="allowed"):
            kind(target)


def test_all_public_names_can_be_imported() -> None:
    for name in pgsched.__all__:
        assert getattr(pgsched, name) is not None
    with pytest.raises(AttributeError):
        _ = pgsched.nothing
