"""The store's operations as one word each, on a connection of their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psycopg
from psycopg.rows import dict_row

from pgsched.domain.completion import Completion, Delete, MoveToFailed, Release, Reschedule
from pgsched.domain.execution import Held, NewExecution, TaskInstance
from pgsched.domain.presence import Presence
from pgsched.store import completing, failed, liveness, picking, reading, scheduling
from pgsched.store.operation import Operation, drive, run_together
from pgsched.store.statement import Names
from pgsched.store.workers import longer_timeouts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsched.store.completing import Receipt
    from pgsched.store.liveness import Recovered

T = TypeVar("T")

HOUR = timedelta(hours=1)

W = Presence(
    worker="w",
    host="here",
    pid=7,
    version="1",
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
    seen_every=timedelta(seconds=30),
    state="running",
    pollers=1,
    slots=10,
    busy=0,
    progressed_at=None,
    clock_offset=timedelta(0),
    hears_notifications=True,
    tasks=["a", "b"],
    recurring=["b"],
    heartbeat_timeout=timedelta(minutes=5),
)
"""A worker that says of itself that it is here."""

REFUSE = """
create function refuse() returns trigger language plpgsql as $$
begin
  raise exception 'this one stays picked';
end $$;
create trigger refuses before update on scheduled_tasks for each row
  when (old.task_instance = 'refused' and not new.picked) execute function refuse();
"""
"""A trigger of somebody's lets nothing end or hand back the execution `refused`."""


class Store:
    """What a program or a poller does, each in a transaction of its own."""

    def __init__(self, conninfo: str, names: Names | None = None) -> None:
        self.conninfo = conninfo
        self.names = names or Names()
        self.connection = psycopg.connect(conninfo, autocommit=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def run(self, operation: Operation[T]) -> T:
        return drive(self.connection, self.names, operation, is_atomic=True)

    def schedule(
        self, *instances: str, task: str = "t", at: datetime | None = None, data: str | None = None
    ) -> int:
        new = [NewExecution(task, instance, data, at) for instance in instances]
        return self.run(scheduling.schedule(self.names, new))

    def reschedule(
        self, instance: str, when: datetime | timedelta | None = None, **changes: Any
    ) -> None:
        self.run(
            scheduling.reschedule(
                self.names, TaskInstance("t", instance), when=when, changes=changes
            )
        )

    def cancel(self, instance: str) -> None:
        self.run(scheduling.cancel(TaskInstance("t", instance)))

    def pick(
        self, poller: str = "p", *, limit: int = 100, tasks: Sequence[str] = ("t",)
    ) -> list[Held]:
        """A survey and a pick of what it finds, as a poller does that knows nothing yet."""
        marks = self.survey(*tasks).marks
        return self.run(picking.pick(poller, list(tasks), marks, limit=limit)).executions

    def survey(self, *tasks: str) -> picking.Survey:
        return self.run(picking.survey(list(tasks)))

    def complete(self, *batch: Completion, poller: str = "p") -> list[Receipt]:
        writer = completing.Writer(poller, timedelta(seconds=10))
        return self.run(completing.complete(self.names, writer, batch))

    def complete_in_place(self, *batch: Completion, poller: str = "p") -> list[bool]:
        writer = completing.Writer(poller, timedelta(seconds=10))
        batches = completing.complete_in_place(self.names, writer, batch)
        answers = run_together(self.connection, self.names, [each.query for each in batches])
        return completing.found_in_place(batches, answers, len(batch))

    def beat(self, *pollers: str) -> int:
        return self.run(liveness.beat(pollers)).executions

    def recover_dead(
        self,
        *,
        max_crashes: int = 5,
        tasks: Sequence[str] = ("t",),
        expected_now: datetime | None = None,
        companions: Sequence[str] = (),
    ) -> list[Recovered]:
        _, longer = run_together(self.connection, self.names, longer_timeouts(HOUR))
        sweep = liveness.Sweep(HOUR, max_crashes, expected_now, companions, dict(longer))
        return self.run(liveness.recover_dead(self.names, tasks, sweep))

    def recover_of(
        self,
        poller: str,
        *,
        started: Sequence[int] | None = None,
        max_crashes: int = 5,
        has_companions: bool = False,
    ) -> list[Recovered]:
        """`started` None: all that it held."""
        if started is None:
            rows = self.sql("select seq from scheduled_tasks where picked_by = %s", poller)
            started = [row["seq"] for row in rows]
        death = liveness.Death("SIGKILL", started, has_companions)
        return self.run(liveness.recover_of(self.names, poller, death, max_crashes=max_crashes))

    def release_of(self, poller: str) -> liveness.Released:
        return self.run(liveness.release_of(self.names, poller))

    def retry(self, instance: str) -> None:
        self.run(failed.retry(self.names, TaskInstance("t", instance)))

    def discard(self, instance: str) -> None:
        self.run(failed.discard(TaskInstance("t", instance)))

    def get(self, instance: str) -> Any:
        return self.run(reading.get(TaskInstance("t", instance)))

    def sql(self, statement: str, *parameters: object) -> list[dict[str, Any]]:
        """Plain SQL, as another program would send it."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def rows(self) -> list[dict[str, Any]]:
        return self.sql("select * from scheduled_tasks order by task_name, task_instance")

    def failed_rows(self) -> list[dict[str, Any]]:
        return self.sql("select * from scheduled_tasks_failed order by id")

    def age_heartbeat(self, instance: str, by: timedelta) -> None:
        self.sql(
            "update scheduled_tasks set last_heartbeat = last_heartbeat - %s where task_instance = %s",
            by,
            instance,
        )


def succeeded(held: Held, *followups: NewExecution) -> Delete:
    return Delete(held, followups)


def next_run(
    held: Held, when: datetime | timedelta = HOUR, *, has_succeeded: bool = True
) -> Reschedule:
    return Reschedule(held, when, has_succeeded=has_succeeded)


def exhausted(held: Held) -> MoveToFailed:
    return MoveToFailed(held, "ValueError: no", "Traceback …")


def released(held: Held) -> Release:
    return Release(held)


PAST = datetime(2020, 1, 1, tzinfo=UTC)
FUTURE = datetime(2100, 1, 1, tzinfo=UTC)
