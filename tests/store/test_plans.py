"""The plans that the hot statements count on, with many rows of every kind in the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgsched.store.statement import Names, statements
from tests.postgres import new_database

if TYPE_CHECKING:
    from collections.abc import Generator

ROWS = 40_000
FILL = """
insert into scheduled_tasks (task_name, task_instance, execution_time, picked, picked_by, last_heartbeat, priority)
select 't', n::text, now() + (n - 200) * interval '1 minute', n %% 100 = 0,
  case when n %% 100 = 0 then 'p' || n %% 7 end, case when n %% 100 = 0 then now() end, nullif(n %% 3, 0)
from generate_series(1, %s) as n
"""
PARAMETERS: dict[str, dict[str, Any]] = {
    "pick_due": {"poller": "me", "tasks": ["t"], "limit": 10},
    "next_due": {"since": datetime.now(UTC)},
    "beat": {"pollers": ["p1", "p2"]},
    "recover_dead": {
        "tasks": ["t"],
        "timeout": timedelta(minutes=5),
        "max_crashes": 5,
        "limit": 100,
        "channel": "c",
    },
    "recover_of": {"poller": "p1", "max_crashes": 5, "limit": 100, "channel": "c"},
    "release_of": {"poller": "p1", "channel": "c"},
    "complete_delete": {
        "task_names": ["t"],
        "task_instances": ["100"],
        "versions": [1],
        "poller": "p2",
    },
    "cancel": {"task_name": "t", "task_instance": "17"},
}


@pytest.fixture(scope="module")
def crowded(server: str, template: str) -> Generator[psycopg.Connection[Any]]:
    """A table with tens of thousands of rows, most of them due in the future."""
    with (
        new_database(server, template=template) as conninfo,
        psycopg.connect(conninfo) as connection,
    ):
        connection.execute(FILL, (ROWS,))
        connection.commit()
        connection.autocommit = True
        connection.execute("vacuum analyze scheduled_tasks")
        connection.autocommit = False
        yield connection


@pytest.mark.parametrize("name", PARAMETERS)
def test_no_hot_statement_reads_the_whole_table(
    crowded: psycopg.Connection[Any], name: str
) -> None:
    """Reading all of it touches some 500 pages, and as many more in its indexes."""
    statement = b"explain (analyze, buffers, format json) " + statements(Names())[name]
    [(plan,)] = crowded.execute(statement, PARAMETERS[name]).fetchall()
    crowded.rollback()
    assert "Seq Scan" not in [
        node["Node Type"] for node in nodes(plan[0]["Plan"]) if is_on_table(node)
    ]
    touched = plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]
    assert touched < 400 + (2_000 if name in {"beat", "recover_of", "release_of"} else 0)


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]


def is_on_table(node: dict[str, Any]) -> bool:
    return bool(node.get("Relation Name") == "scheduled_tasks")
