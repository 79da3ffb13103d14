"""Checks of those who work here, as they tell of themselves."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pgsched.doctor.finding import Finding, Fix, Severity, counted, listed, literal
from pgsched.domain.duration import rough_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgsched.doctor.known import Configured, Machine, Pooling
    from pgsched.store.examining import Holder, Notifications, SeenWorker, Table, Waiting

RECENTLY = timedelta(hours=1)
"""A worker that was killed leaves its row for an hour, and for longer where nobody works or executions are in its name:
that is news at first, and history later (executions that nobody takes over are a finding of their own)."""

DEPLOYED_WITHIN = timedelta(minutes=15)
STARTED_WITHIN = timedelta(minutes=1)

STILL_FOR = timedelta(seconds=30)
"""A poller makes a turn every few seconds, whatever there is to do."""

LARGEST_OFFSET = timedelta(seconds=2)

UNATTENDED_S = 60.0
HALF_FULL = 0.5

OTHERS_BEAT_WITHIN_S = 300.0
"""Other programs, and older releases, pick without having a row among the workers."""


def living(workers: list[SeenWorker]) -> list[SeenWorker]:
    """Those that have told of themselves lately."""
    return [worker for worker in workers if worker.is_alive]


def workers(
    workers: list[SeenWorker],
    queue: list[Waiting],
    held: list[Holder],
    tables: Mapping[str, Table],
    configured: Configured,
) -> Iterator[Finding]:
    """Workers are alive, and none has vanished without a word."""
    alive = living(workers)
    yield from _silent([worker for worker in workers if worker not in alive], held, tables)
    if alive or any(_is_beaten(holder) for holder in held):
        return
    late = [waiting for waiting in queue if waiting.due_s > UNATTENDED_S]
    if late:
        oldest = timedelta(seconds=max(waiting.due_s for waiting in late))
        yield Finding(
            severity=Severity.CRITICAL,
            title=f"Executions have been due for {rough_duration(oldest)}, and no worker is alive",
            explanation=f"Of {listed([waiting.task for waiting in late])}. Nobody runs them.",
            fix=Fix.shell(configured.command("worker")),
            facts={"tasks": [waiting.task for waiting in late]},
        )


def _silent(
    silent: list[SeenWorker], held: list[Holder], tables: Mapping[str, Table]
) -> Iterator[Finding]:
    """Each that holds something is told by itself, as somebody waits for that; all others are one thing to know."""
    pollers = [holder.poller or "" for holder in held]
    holding = [
        worker
        for worker in silent
        if any(poller.startswith(f"{worker.worker}/") for poller in pollers)
    ]
    rest = [worker for worker in silent if worker not in holding]
    for together in [*([worker] for worker in holding), *([rest] if rest else [])]:
        yield _finding_of_silent(together, tables)


def _finding_of_silent(together: list[SeenWorker], tables: Mapping[str, Table]) -> Finding:
    newest = min(together, key=lambda worker: worker.seen_ago)
    names = [worker.worker for worker in together]
    is_one = len(together) == 1
    who = f"Worker {newest.worker!r} has" if is_one else f"{counted(len(together), 'worker')} have"
    were = (
        f"It was process {newest.pid} on {newest.host!r}, and was"
        if is_one
        else f"They are {listed(names)}, and were"
    )
    listing = ", ".join(map(literal, names))
    return Finding(
        severity=Severity.WARNING if newest.seen_ago < RECENTLY else Severity.NOTE,
        title=f"{who} not been seen for {rough_duration(newest.seen_ago)}",
        explanation=f"{were} killed or can't reach the database. "
        "What they held is taken over by the others. Who is gone for good may be forgotten.",
        fix=Fix.sql(f"delete from {tables['workers_table'].name} where worker in ({listing})"),
        facts={"workers": [_facts(worker) for worker in together]},
    )


def progress(workers: list[SeenWorker], configured: Configured) -> Iterator[Finding]:
    """Every worker has pollers, and each of them makes its turns."""
    for worker in living(workers):
        still = worker.stands_still_for or timedelta(0)
        has_none = not worker.pollers and worker.started_ago > STARTED_WITHIN
        if not has_none and still < STILL_FOR:
            continue
        yield Finding(
            severity=Severity.CRITICAL if has_none else Severity.WARNING,
            title=f"Worker {worker.worker!r} has no poller"
            if has_none
            else f"A poller of worker {worker.worker!r} has stood still for {rough_duration(still)}",
            explanation="Its log says why: poller.died or poller.stalled."
            if has_none
            else "Something in it keeps the interpreter to itself, or its process is stopped. It is replaced after "
            "worker.stall_timeout; what holds it up is among what runs there.",
            fix=Fix.shell(configured.command("list --state running")),
            facts=_facts(worker),
        )


def versions(workers: list[SeenWorker]) -> Iterator[Finding]:
    """All workers are of one version."""
    alive = living(workers)
    by_version = {worker.version: worker for worker in alive}
    if len(by_version) < 2:
        return
    newest = min(alive, key=lambda worker: worker.started_ago)
    others = [worker.worker for worker in alive if worker.version != newest.version]
    is_deploy = newest.started_ago < DEPLOYED_WITHIN
    yield Finding(
        severity=Severity.NOTE if is_deploy else Severity.WARNING,
        title=f"Workers of {len(by_version)} versions work together: {', '.join(sorted(by_version))}",
        explanation="During a rolling deploy that is as it should be."
        if is_deploy
        else f"The last one started {rough_duration(newest.started_ago)} ago: a deploy has not been finished.",
        fix=Fix.shell(*(f"systemctl restart pgsched   # {name!r}" for name in others[:5])),
        facts={"versions": {worker.worker: worker.version for worker in alive}},
    )


def clocks(workers: list[SeenWorker], machine: Machine) -> Iterator[Finding]:
    """The clocks of the workers' machines, and of this one, agree with the database's."""
    for worker in living(workers):
        if abs(worker.clock_offset) > LARGEST_OFFSET:
            yield _offset(
                f"The clock of {worker.host!r} (worker {worker.worker!r})",
                worker.clock_offset,
                Severity.WARNING,
            )
    if abs(machine.clock_offset) - machine.uncertainty > LARGEST_OFFSET:
        yield _offset("The clock of this machine", machine.clock_offset, Severity.NOTE)


def _offset(whose: str, offset: timedelta, severity: Severity) -> Finding:
    return Finding(
        severity=severity,
        title=f"{whose} is {rough_duration(abs(offset))} away from the database's",
        explanation="What is due is judged by the database's clock alone; but logs tell wrong times, and so do tasks "
        "that ask their machine.",
        fix=Fix.shell("timedatectl set-ntp true   # on that machine"),
        facts={"offset_s": offset.total_seconds()},
    )


def wake_ups(
    workers: list[SeenWorker], pooling: Pooling, configured: Configured
) -> Iterator[Finding]:
    """Workers hear of what is scheduled for now (behind a pooler in transaction mode nobody can)."""
    settled = [each for each in living(workers) if each.started_ago > STARTED_WITHIN]
    deaf = [worker for worker in settled if not worker.hears_notifications]
    if not deaf or pooling.loses_session or configured.is_pooled:
        return
    is_all = len(deaf) == len(settled) and not configured.is_given
    yield Finding(
        severity=Severity.NOTE if is_all else Severity.WARNING,
        title=f"{counted(len(deaf), 'worker')} of {len(settled)} can't hear notifications",
        explanation="What is scheduled for now starts when they look unasked, up to a polling interval late. "
        + (
            "If they work through a pooler in transaction mode that is as it must be."
            if is_all
            else "Their listening connection is lost: is there one left for it, and a way through the firewall?"
        ),
        fix=Fix.sql(
            "select application_name, state, state_change from pg_stat_activity"
            " where application_name like 'pgsched %/listener'"
        ),
        facts={"workers": [worker.worker for worker in deaf]},
    )


def notification_queue(notifications: Notifications) -> Iterator[Finding]:
    """The queue of notifications is read."""
    if notifications.usage < HALF_FULL:
        return
    suspect = notifications.suspect_pid
    yield Finding(
        severity=Severity.CRITICAL,
        title=f"The server's queue of notifications is {notifications.usage:.0%} full",
        explanation="A session that listens has been in a transaction for long, or does not read. "
        "When the queue is full, scheduling fails."
        + (f" It is probably {notifications.suspect_application!r}." if suspect else ""),
        fix=Fix.sql(f"select pg_terminate_backend({suspect})") if suspect else None,
        facts=notifications._asdict(),
    )


def _is_beaten(holder: Holder) -> bool:
    newest_s = holder.newest_heartbeat_s
    return newest_s is not None and newest_s < OTHERS_BEAT_WITHIN_S


def _facts(worker: SeenWorker) -> dict[str, object]:
    return {
        "worker": worker.worker,
        "host": worker.host,
        "pid": worker.pid,
        "seen_ago_s": worker.seen_ago.total_seconds(),
    }
