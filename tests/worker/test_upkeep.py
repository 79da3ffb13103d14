"""One worker of the cluster looks after the indexes, and what is run meanwhile doesn't feel it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg

from tests.waiting import wait_until
from tests.worker.running import Project, Worker

Start = Callable[..., Worker]

PKEY = "scheduled_tasks_pkey"
MAINTAINERS = (
    "select pid from pg_stat_activity"
    " where datname = current_database() and application_name like '%%/maintenance'"
)


def bloat(project: Project) -> None:
    project.sql(
        "insert into scheduled_tasks (task_name, task_instance) select 'a-task', 'instance-' || n"
        " from generate_series(1, 150000) n"
    )
    project.sql("delete from scheduled_tasks")
    project.sql("vacuum scheduled_tasks")


def test_one_of_the_workers_rebuilds_and_executions_go_on(project: Project, start: Start) -> None:
    """Without the lease both would try; each run starts on time, and runs once."""
    bloat(project)
    project.sql("drop index idx_scheduled_tasks_queue")
    workers = [start(id=name, processes=1, maintenance_interval="2s") for name in ("a", "b")]
    first = datetime.now(UTC) + timedelta(seconds=0.3)
    instances = [f"i{n}" for n in range(100)]
    for n, instance in enumerate(instances):
        project.client.schedule("run", instance, at=first + n * timedelta(seconds=0.02))

    def mended() -> list[tuple[str, str]]:
        events = [each for worker in workers for each in worker.events("index.mended")]
        return sorted((each["index"], each["reason"]) for each in events)

    wait_until(lambda: len(mended()) >= 2, describe=f"both to be mended: {workers[0].lines[-9:]}")
    entries = project.wait_entries("ran", count=len(instances))
    assert sorted(entry.instance for entry in entries) == sorted(instances)
    due_at = {instance: first.timestamp() + n * 0.02 for n, instance in enumerate(instances)}
    assert max(entry.at - due_at[entry.instance] for entry in entries) < 2
    assert [worker.stop() for worker in workers] == [0, 0]
    assert mended() == [("idx_scheduled_tasks_queue", "missing"), (PKEY, "bloated")]
    assert [worker.events("maintenance.failed") for worker in workers] == [[], []]


def test_a_worker_that_stops_does_not_wait_for_a_rebuild(project: Project, start: Start) -> None:
    """And the server does not go on with it: without client_connection_check_interval it would, for hours maybe.

    The next worker does it: where the lease is taken before, a day later, and all writes pay for what is left.
    """
    bloat(project)
    project.module = "tests.worker.tidy"
    with psycopg.connect(project.conninfo) as old:
        old.execute("set transaction isolation level repeatable read")
        old.execute("select count(*) from pg_class")
        worker = start(processes=1, maintenance_interval="1d")
        wait_until(
            lambda: project.sql(
                f"{MAINTAINERS} and query like 'reindex%%' and wait_event_type = 'Lock'"
            ),
            describe="a rebuild that waits for the old transaction",
        )
        assert worker.stop() == 0
        wait_until(lambda: not project.sql(MAINTAINERS), timeout=5, describe="its session to end")
    left = f"select relname from pg_class where relname like '{PKEY}_ccnew%%'"
    assert project.sql(left)
    worker = start(processes=1, maintenance_interval="1d")
    worker.wait_event("index.mended", reason="left over")
    worker.wait_event("index.mended", index=PKEY, reason="bloated")
    assert not project.sql(left)
    held = "select 1 from scheduled_tasks_leases where lease = 'maintenance' and until > now() + interval '23h'"
    wait_until(lambda: project.sql(held), describe="it to be done for a day")
