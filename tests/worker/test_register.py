"""A worker says that it is here and how it does, and nothing else waits for that."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pgsched import __version__
from tests.waiting import wait_until
from tests.worker.running import Project, Worker

Start = Callable[..., Worker]


def rows(project: Project) -> dict[str, dict[str, Any]]:
    """What workers say of themselves, by their names."""
    with psycopg.connect(project.conninfo, row_factory=dict_row) as connection:
        found = connection.execute("select * from scheduled_tasks_workers").fetchall()
    return {row["worker"]: row for row in found}


def wait_rows(project: Project, *workers: str) -> dict[str, dict[str, Any]]:
    return wait_until(
        lambda: found if (found := rows(project)).keys() == set(workers) else None,
        describe=lambda: f"{workers} to be here; there are {rows(project)}",
    )


def heartbeat(project: Project, instance: str) -> datetime:
    row = project.row(instance)
    assert row is not None
    at: datetime = row["last_heartbeat"]
    return at


def test_a_worker_is_here_from_its_start_to_its_end(project: Project, start: Start) -> None:
    project.sql(
        "insert into scheduled_tasks_workers (worker, host, pid, version, started_at, seen_at, seen_every, state,"
        " pollers, slots, busy, clock_offset, hears_notifications, tasks) select 'gone', 'h', 1, '0', now(),"
        " now() - interval '61 min', '5 s', 'running', 1, 1, 0, '0', true, '{}'"
    )
    quick = start(id="quick")
    start(id="calm", processes=1, concurrency=3, heartbeat_timeout="5m", heartbeat_interval=None)
    found = wait_rows(project, "quick", "calm")  # whoever was not seen for an hour is forgotten
    assert found["quick"]["pid"] == quick.pid
    assert found["quick"]["state"] == "running"
    assert found["quick"]["version"] == __version__
    assert (found["quick"]["pollers"], found["quick"]["slots"]) == (2, 20)
    assert (found["calm"]["pollers"], found["calm"]["slots"]) == (1, 3)
    assert found["quick"]["seen_every"] == timedelta(seconds=5)
    assert found["calm"]["seen_every"] == timedelta(seconds=30)
    assert found["calm"]["started_at"] <= found["calm"]["progressed_at"] <= found["calm"]["seen_at"]
    assert abs(found["quick"]["clock_offset"]) < timedelta(seconds=1)
    assert {"run", "sleep"} < set(found["quick"]["tasks"])
    assert set(found["quick"]["recurring"]) < set(found["quick"]["tasks"])

    project.client.schedule_many([("sleep", str(n), 2) for n in range(8)])
    project.wait_entries("started", count=8)
    quick.signal(signal.SIGTERM)
    wait_until(lambda: rows(project)["quick"]["state"] == "draining", describe="quick to drain")
    assert 0 < rows(project)["quick"]["busy"] <= 8
    assert quick.wait_exit() == 0
    assert rows(project).keys() == {"calm"}


def test_a_worker_that_was_killed_is_still_named_until_its_successor_is_there(
    project: Project, start: Start
) -> None:
    worker = start(id="w")
    started_at = wait_rows(project, "w")["w"]["started_at"]
    worker.kill_everything()
    assert rows(project).keys() == {"w"}
    start(id="w")
    wait_until(lambda: rows(project)["w"]["started_at"] > started_at, describe="the successor")


def test_a_poller_that_has_drained_without_a_supervisor_does_not_count_as_standing_still(
    project: Project, start: Start
) -> None:
    """Without a look at who is there, the row told of two pollers, the slower of which had not moved since."""
    worker = start(id="w", shutdown_timeout="1m")
    wait_rows(project, "w")
    project.client.schedule("sleep", "a", 60)
    project.wait_entries("started", "a")
    worker.signal(signal.SIGKILL)
    worker.wait_event("poller.stopped")
    alone = wait_until(
        lambda: row if (row := rows(project)["w"])["pollers"] == 1 else None,
        describe="only the other poller to be told of",
    )
    assert (alone["state"], alone["busy"]) == ("draining", 1)
    worker.kill_everything()


def test_beats_do_not_wait_for_what_a_worker_says_of_itself(project: Project, start: Start) -> None:
    """With the lock waited for as long as a statement may take (10 s), no beat comes meanwhile."""
    with psycopg.connect(project.conninfo) as locking:
        locking.execute("lock table scheduled_tasks_workers in access exclusive mode")
        project.client.schedule("sleep", "a", 60)
        worker = start()
        project.wait_entries("started", "a")
        first = heartbeat(project, "a")
        wait_until(
            lambda: heartbeat(project, "a") > first + timedelta(seconds=1),
            timeout=5,
            describe="beats",
        )
        worker.wait_event("worker.unseen")
    worker.signal(signal.SIGTERM)  # it drains, and says so at once
    wait_until(
        lambda: rows(project), timeout=3, describe="the worker to be here when it can say so"
    )
    assert len(worker.events("worker.unseen")) == 1
    assert not worker.events("database.lost")


def test_who_may_not_read_others_timeouts_judges_by_its_own(project: Project, start: Start) -> None:
    """Without, each sweep ended there, and the dead were nobody's to recover."""
    project.sql("alter table scheduled_tasks_workers rename to out_of_reach")
    project.sql(
        "insert into scheduled_tasks (task_name, task_instance, picked, picked_by, last_heartbeat)"
        " values ('run', 'dead', true, 'gone/0-x', now() - interval '1 hour')"
    )
    worker = start()
    project.wait_entries("ran", "dead")
    project.sql("alter table out_of_reach rename to scheduled_tasks_workers")
    assert worker.stop() == 0
