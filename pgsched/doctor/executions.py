"""Checks of the executions: what nobody runs, what nobody lets go, what nobody decides."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pgsched.doctor.finding import Finding, Fix, Severity, counted, listed, literal, rough
from pgsched.doctor.workers import living

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgsched.doctor.known import Configured, Machine
    from pgsched.store.examining import (
        FailedExecutions,
        Holder,
        Recurrence,
        SeenWorker,
        Table,
        Waiting,
    )

UNKNOWN_FOR_S = 120.0
"""During a deploy new tasks wait for the workers that know them."""

OVERDUE_FOR_S = 300.0

RECOVERED_WITHIN = timedelta(minutes=2)
"""Sweeps are at most 30 s apart, and wait a while after an outage."""

YEARS = 2
"""Countries change their clocks at short notice, some every year."""


def unknown_tasks(queue: list[Waiting], workers: list[SeenWorker]) -> Iterator[Finding]:
    """Every task that has something due is known to a worker that is alive."""
    alive = living(workers)
    if not alive:
        return  # told by the check of the workers
    known = {task for worker in alive for task in worker.tasks}
    lost = {each.task: each.due_s for each in queue if each.due_s > UNKNOWN_FOR_S}
    for task, due_s in lost.items():
        if task not in known:
            yield Finding(
                severity=Severity.WARNING,
                title=f"No worker knows task {task!r:.80}, which has been due for {_rough(due_s)}",
                explanation="It is left alone until one does. Was it renamed, or its module left out of "
                "tasks.modules? What is not wanted any more can be cancelled.",
                fix=Fix.config("tasks.modules: [THE MODULE THAT DECLARES IT]"),
                facts={"task": task, "due_s": due_s},
            )


def recurring_tasks(
    recurring: list[Recurrence],
    workers: list[SeenWorker],
    configured: Configured,
    machine: Machine,
) -> Iterator[Finding]:
    """Recurring tasks have their row, run on time, and their schedules tell a next time."""
    known = {task for worker in living(workers) for task in worker.tasks}
    for each in recurring:
        if each.task in known and not each.is_picked and each.due_s > OVERDUE_FOR_S:
            yield Finding(
                severity=Severity.WARNING,
                title=f"Recurring task {each.task!r:.80} has been due for {_rough(each.due_s)}",
                explanation="Workers that know it are alive, but busy with what is more urgent, or stuck.",
                fix=Fix.shell("pgsched list --state running"),
                facts={"task": each.task, "due_s": each.due_s},
            )
    declared = configured.tasks or {}
    there = {each.task for each in recurring}
    for name, task in declared.items():
        if task.schedule is None:
            continue
        try:
            task.schedule.next_time(machine.now)
        except Exception as error:  # noqa: BLE001 the user's schedule
            yield Finding(
                severity=Severity.CRITICAL,
                title=f"The schedule of task {name!r} fails",
                explanation=f"{type(error).__name__}: {error!s:.200}. A worker that is to start does not.",
                facts={"task": name},
            )
        if name in known and name not in there:
            yield Finding(
                severity=Severity.WARNING,
                title=f"Recurring task {name!r} is not scheduled",
                explanation="Its row was deleted while workers ran; the next one to start would make it anew.",
                fix=Fix.shell(f"pgsched schedule {_shell(name)} default"),
                facts={"task": name},
            )


def stuck_executions(
    held: list[Holder],
    workers: list[SeenWorker],
    tables: Mapping[str, Table],
    configured: Configured,
) -> Iterator[Finding]:
    """Whatever is picked has a heartbeat, and a dead poller's executions are taken over."""
    limit_s = (configured.heartbeat_timeout + RECOVERED_WITHIN).total_seconds()
    alive = {worker.worker for worker in living(workers)}
    for holder in held:
        newest_s = holder.newest_heartbeat_s
        is_ours_to_judge = configured.has_file or _worker_of(holder) not in alive
        if newest_s is not None and newest_s > limit_s and is_ours_to_judge:
            older = f"last_heartbeat < now() - interval '{limit_s:.0f} s'"
            yield _stuck(holder, tables, f"has not beaten for {_rough(newest_s)}", older)
        if holder.without_heartbeat:
            yield _stuck(holder, tables, "has never beaten", "last_heartbeat is null")


def _stuck(holder: Holder, tables: Mapping[str, Table], how: str, which: str) -> Finding:
    who = "null" if holder.poller is None else literal(holder.poller)
    return Finding(
        severity=Severity.WARNING,
        title=f"Poller {holder.poller!r:.100} {how}, and holds {counted(holder.executions, 'execution')}",
        explanation=f"Of {listed(holder.tasks)}. A worker that knows the task takes over what is dead, if it has "
        "a heartbeat: start one. Or, if the poller is surely gone, make them due again.",
        fix=Fix.sql(
            f"update {tables['table'].name} set picked = false, picked_by = null, last_heartbeat = null,"
            f" version = version + 1 where picked and picked_by is not distinct from {who} and {which}"
        ),
        facts={
            "poller": holder.poller,
            "executions": holder.executions,
            "without_heartbeat": holder.without_heartbeat,
            "tasks": holder.tasks,
        },
    )


def _worker_of(holder: Holder) -> str:
    return (holder.poller or "").rpartition("/")[0]


def failed_executions(failed: FailedExecutions) -> Iterator[Finding]:
    """No failed execution waits for somebody to decide."""
    if not failed.number:
        return
    more = "more than " if failed.number > 100_000 else ""
    yield Finding(
        severity=Severity.NOTE,
        title=f"{more}{counted(min(failed.number, 100_000), 'failed execution')}",
        explanation=f"Of {listed(failed.tasks or [])}. They wait for `pgsched retry` or `pgsched discard`.",
        fix=Fix.shell("pgsched list --state failed"),
        facts=failed._asdict(),
    )


def task_modules(configured: Configured) -> Iterator[Finding]:
    """The task modules that the configuration names can be imported."""
    if configured.problem is not None:
        yield Finding(
            severity=Severity.CRITICAL,
            title="The task modules can't be used",
            explanation=f"{configured.problem}. A worker with this configuration does not start.",
            fix=Fix.shell("pgsched config check"),
        )


def time_zones(machine: Machine) -> Iterator[Finding]:
    """This machine has a time zone database that is not years old."""
    release = machine.time_zones
    if release is None or not release[:4].isdigit():
        return
    if machine.now.year - int(release[:4]) > YEARS:
        yield Finding(
            severity=Severity.NOTE,
            title=f"The time zone database of this machine is {release}",
            explanation="Countries have changed their clocks since: schedules with a zone may run at a wrong hour.",
            fix=Fix.shell(
                "apt-get install --only-upgrade tzdata   # or pip install --upgrade tzdata"
            ),
            facts={"release": release},
        )


def _rough(length_s: float) -> str:
    return rough(timedelta(seconds=min(length_s, 3e9)))


def _shell(name: str) -> str:
    from shlex import quote

    return quote(name)
