"""A guard outlives whatever becomes of the connections that it watches."""

from __future__ import annotations

import psycopg

from pgsched.worker.guard import shut


def test_a_connection_that_has_broken_meanwhile_costs_the_guard_nothing(database: str) -> None:
    """psycopg's own error is neither an OSError nor a ValueError: the guard's thread died of it, and was not missed."""
    connection = psycopg.connect(database)
    connection.close()
    shut(connection)
