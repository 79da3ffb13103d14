"""Checks of the executions: what nobody runs, what nobody lets go, what nobody decides."""

from __future__ import annotations

from datetime import timedelta
from shlex import quote
from typing import TYPE_CHECKING

from pgsched.doctor.finding import Finding, Fix, Severity, counted, listed, literal
from pgsched.doctor.workers import living
from pgsched.domain.duration import rough_duration
from pgsched.domain.execution import RECURRING_INSTANCE

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

LATE_S = 300.0

FAILURES = 3
"""In a row: fewer may be a hiccup of whatever the task talks to."""

RECOVERED_WITHIN = timedelta(minutes=2)
"""Sweeps are at most 30 s apart, and wait a while after an outage."""

YEARS = 2
"""Countries change their clocks at short notice, some every year."""


def unknown_tasks(queue: list[Waiting], workers: list[SeenWorker]) -> Iterator[Finding]:
    """Every task that has something due is known to a worker that is alive."""
    if not living(workers):
        return  # told by the check of the workers
    known = _known(workers)
    lost = {each.task: each.due_s for each in queue if each.due_s > UNKNOWN_FOR_S}
    for task, due_s in lost.items():
        if task not in known:
            yield Finding(
                severity=Severity.WARNING,
                title=f"No worker knows task {task!r:.80}, which has been due for {_rough_duration(due_s)}",
                explanation="It is left alone until one does. Was it renamed, or its module left out of "
                "tasks.modules? What is not wanted any more can be cancelled.",
                fix=Fix.config("tasks.modules: [THE MODULE THAT DECLARES IT]"),
                facts={"task": task, "due_s": due_s},
            )


def late_tasks(
    queue: list[Waiting],
    recurring: list[Recurrence],
    workers: list[SeenWorker],
    configured: Configured,
) -> Iterator[Finding]:
    """What is due and known to a worker, recurring tasks above all, starts within minutes."""
    known = _known(workers)
    waiting = {each.task: each.due_s for each in queue}
    recurrent = {each.task: each.due_s for each in recurring if not each.is_picked}
    late = {
        task: due_s
        for task, due_s in (*waiting.items(), *recurrent.items())
        if task in known and due_s > LATE_S
    }
    if late:
        longest = max(late, key=lambda task: late[task])
        yield Finding(
            severity=Severity.WARNING,
            title=f"Task {longest!r:.80} has been due for {_rough_duration(late[longest])}",
            explanation=f"Late: {listed(late)}. Workers that know them are alive, but busy with what is more urgent, "
            "too few, or stuck; or somebody has locked the rows.",
            fix=Fix.shell(configured.command("list --state running")),
            facts={"due_s": late},
        )


def recurring_tasks(
    recurring: list[Recurrence],
    workers: list[SeenWorker],
    configured: Configured,
    machine: Machine,
) -> Iterator[Finding]:
    """Recurring tasks that the configuration knows have their row, and their schedules tell a next time."""
    there = {each.task for each in recurring}
    for name, task in (configured.tasks or {}).items():
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
        if name in _known(workers) and name not in there:
            yield Finding(
                severity=Severity.WARNING,
                title=f"Recurring task {name!r} is not scheduled",
                explanation="Its row was deleted while workers ran; the next one to start would make it anew.",
                fix=Fix.shell(configured.command(f"schedule {quote(name)} {RECURRING_INSTANCE}")),
                facts={"task": name},
            )


def failing_tasks(recurring: list[Recurrence], configured: Configured) -> Iterator[Finding]:
    """No recurring task has failed three times in a row or more without having succeeded within minutes."""
    for each in recurring:
        has_just_succeeded = each.succeeded_s is not None and each.succeeded_s < LATE_S
        if each.failures < FAILURES or has_just_succeeded:
            continue
        last = (
            "" if each.failed_s is None else f"The last time {_rough_duration(each.failed_s)} ago. "
        )
        yield Finding(
            severity=Severity.WARNING,
            title=f"Recurring task {each.task!r:.80} {_how_it_fails(each)}",
            explanation=f"{last}It is tried again and again; why it fails is in the log of the workers, as "
            "`execution.failed` with its traceback.",
            fix=Fix.shell(
                configured.command(f"list --state retrying --task {quote(each.task)}"),
            ),
            facts={
                "task": each.task,
                "failures": each.failures,
                "succeeded_s": each.succeeded_s,
                "failed_s": each.failed_s,
            },
        )


def _how_it_fails(recurring: Recurrence) -> str:
    if recurring.succeeded_s is None:
        return f"has never succeeded, and failed {recurring.failures} times in a row"
    since = _rough_duration(recurring.succeeded_s)
    return f"has failed {recurring.failures} times in a row since its last success, {since} ago"


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
        is_ours_to_judge = configured.is_given or _worker_of(holder) not in alive
        if newest_s is not None and newest_s > limit_s and is_ours_to_judge:
            older = f"last_heartbeat < now() - interval '{limit_s:.0f} s'"
            yield _stuck(holder, tables, f"has not beaten for {_rough_duration(newest_s)}", older)
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


def failed_executions(failed: FailedExecutions, configured: Configured) -> Iterator[Finding]:
    """No failed execution waits for somebody to decide."""
    if not failed.number:
        return
    more = "more than " if failed.number > 100_000 else ""
    yield Finding(
        severity=Severity.NOTE,
        title=f"{more}{counted(min(failed.number, 100_000), 'failed execution')}",
        explanation=f"Of {listed(failed.tasks or [])}. They wait for `pgsched retry` or `pgsched discard`.",
        fix=Fix.shell(configured.command("list --state failed")),
        facts=failed._asdict(),
    )


def task_modules(configured: Configured) -> Iterator[Finding]:
    """The task modules that the configuration names can be imported."""
    if configured.problem is not None:
        yield Finding(
            severity=Severity.CRITICAL,
            title="The task modules can't be used",
            explanation=f"{configured.problem}. A worker with this configuration does not start.",
            fix=Fix.shell(configured.command("config check")),
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


def _rough_duration(length_s: float) -> str:
    return rough_duration(timedelta(seconds=length_s))


def _known(workers: list[SeenWorker]) -> set[str]:
    return {task for worker in living(workers) for task in worker.tasks}
