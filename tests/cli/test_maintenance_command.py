"""`pgsched maintenance` says what it does, or who is at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from pgsched.store.building import online_lock
from pgsched.store.statement import Names

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Answer, Command

HELD = "idx_scheduled_tasks_held"


def test_it_says_what_it_would_do_and_what_it_has_done(on_database: Command, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"drop index {HELD}".encode())
        planned = on_database("maintenance", "--dry-run")
        assert planned.status == 0
        assert planned.out.startswith(f'create index concurrently if not exists "{HELD}" on ')
        assert planned.out.endswith(";  -- missing, 0.0 MB\n")
        done = on_database("maintenance")
        assert (done.status, done.err) == (0, "")
        assert done.out.splitlines() == [
            f"built {HELD} (missing): 0.0 MB won",
            "table 'scheduled_tasks': 0.0 MB won",
        ]
        assert connection.execute(f"select to_regclass('{HELD}')::text".encode()).fetchone() == (
            HELD,
        )
        lock = "select pg_advisory_lock(hashtextextended(%s, 0))"
        connection.execute(lock, (online_lock(Names()),))
        refused = on_database("maintenance")
        assert (refused.status, refused.out) == (1, "")
        assert f"by pid {connection.info.backend_pid}" in refused.err


def test_a_threshold_below_two_is_refused(usage: Callable[..., Answer]) -> None:
    for wrong in ("1", "x", "2.5"):
        answer = usage("maintenance", "--bloat", wrong)
        assert (answer.status, answer.err.count("\n")) == (2, 1)
        assert f"'--bloat': '{wrong}' (allowed: a whole number from 2)" in answer.err
