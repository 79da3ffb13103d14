"""Whether a pooler stands between us and the server, and whether it keeps a session together.

Never guesses: what it calls lost has been seen to change. A pooler that serves many others at the same moment may
in theory go undetected.
"""

from __future__ import annotations

import select
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import make_conninfo

from pgsched.errors import DatabaseUnavailable
from pgsched.store.connecting import translated

if TYPE_CHECKING:
    from psycopg import Connection

PATIENCE_S = 3

ROUNDS = 3
"""One is enough where nobody else is at the pooler."""


def is_pooled(connection: Connection[Any]) -> bool:
    """A pooler makes up the process id that it shows to its clients (for their cancel requests)."""
    with translated():
        return _server_of(connection) != connection.info.backend_pid


def loses_session(connection: Connection[Any]) -> bool:
    """Whether each transaction may find another session: a pooler's transaction mode. `connection` must be in none."""
    if not is_pooled(connection):
        return False
    with translated(), closing(_another_like(connection)) as other:
        return any(_is_taken_away(connection, other) for _ in range(ROUNDS))


def _is_taken_away(connection: Connection[Any], other: Connection[Any]) -> bool:
    """Whether the other one gets our server process, or leaves us with another one.

    Poolers hand on the one that was used last, which the other takes, or the one that rested longest, which we see
    ourselves in the second transaction.
    """
    ours = {_server_of(connection) for _ in range(2)}
    _begin_soon(other)
    try:
        if _server_of(other) in ours:
            return True
        ours.add(_server_of(connection))
    finally:
        other.rollback()
    return len(ours) > 1


def _begin_soon(other: Connection[Any]) -> None:
    """Begin a transaction, or give up: a pooler whose sessions are all taken, one by us, keeps the other one waiting,
    two minutes as a rule, for what we will not let go. Raises: DatabaseUnavailable.
    """
    server = other.pgconn
    server.send_query(b"begin")
    answers = select.poll()
    answers.register(server.socket, select.POLLIN)
    until = time.monotonic() + PATIENCE_S
    while server.is_busy():
        if not answers.poll(max(0, until - time.monotonic()) * 1000):
            raise DatabaseUnavailable(
                f"the pooler had no second connection for us in {PATIENCE_S} s, so that it is not known "
                "whether it keeps a session together"
            )
        server.consume_input()
    while result := server.get_result():
        if result.status == psycopg.pq.ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result)


def _server_of(connection: Connection[Any]) -> int:
    row = psycopg.Cursor(connection).execute("select pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


def _another_like(connection: Connection[Any]) -> Connection[Any]:
    info = connection.info
    conninfo = make_conninfo(**info.get_parameters(), password=info.password or None)
    return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)
