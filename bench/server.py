"""The database that a benchmark runs on: a fresh one on an embedded server, or on the server of PGSCHED_BENCH_DSN."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import make_conninfo

from pgsched.embedded import embedded_server
from pgsched.store.migrating import migrate

if TYPE_CHECKING:
    from collections.abc import Generator

DATABASE = "pgsched_bench"


class Database:
    """A migrated database, and SQL on it."""

    def __init__(self, conninfo: str) -> None:
        self.conninfo = conninfo

    def sql(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def empty(self) -> None:
        self.sql("truncate scheduled_tasks")

    def fill(self, task: str, count: int) -> None:
        """So many executions due now, all at the very same time: the hard case for whoever keeps a place in order."""
        self.sql(
            "insert into scheduled_tasks (task_name, task_instance)"
            " select %s, n::text from generate_series(1, %s) as n",
            task,
            count,
        )

    def refill(self, task: str, count: int) -> None:
        """These and nothing else."""
        self.empty()
        self.fill(task, count)
        self.settle()

    def settle(self) -> None:
        """Nothing of the filling is left to do while something is measured."""
        self.sql("vacuum analyze scheduled_tasks")
        self.sql("checkpoint")


@contextmanager
def database() -> Generator[Database]:
    given = os.environ.get("PGSCHED_BENCH_DSN")
    if given:
        yield _fresh(given)
        return
    with embedded_server("embedded:.bench/postgres") as conninfo:
        yield _fresh(conninfo)


@contextmanager
def profiled_database() -> Generator[Database]:
    """As `database`, on a server of its own that keeps an account of each statement."""
    settings = {
        "shared_preload_libraries": "pg_stat_statements",
        "pg_stat_statements.track_planning": "on",
    }
    with embedded_server("embedded:.bench/profiled", settings=settings) as conninfo:
        profiled = _fresh(conninfo)
        profiled.sql("create extension pg_stat_statements")
        yield profiled


def _fresh(conninfo: str) -> Database:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"drop database if exists {DATABASE}")
        connection.execute(f"create database {DATABASE}")
    ours = make_conninfo(conninfo, dbname=DATABASE)
    with psycopg.connect(ours, autocommit=True) as connection:
        migrate(connection)
    return Database(ours)
