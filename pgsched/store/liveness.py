"""Who is alive and who is not: beats for what is held, recovery of what is dead."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pgsched.store.operation import Operation, Query

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import timedelta

    from pgsched.domain.execution import RunKey
    from pgsched.store.operation import Row
    from pgsched.store.statement import Names

BATCH = 500
"""Recoveries a statement: bounded, so that one sweep holds no locks for long. Callers repeat while it is full."""


class Recovered(NamedTuple):
    """A dead execution, made due again, or buried after too many crashes."""

    task_name: str
    task_instance: str
    poller: str | None
    crashes: int
    is_buried: bool


def beat(pollers: Sequence[str]) -> Operation[int]:
    """Refresh the heartbeat of everything that these pollers hold; answers how many executions that is."""
    beaten: int
    [(beaten,)] = yield Query("beat", {"pollers": list(pollers)})
    return beaten


def recover_dead(
    names: Names, tasks: Sequence[str], *, timeout: timedelta, max_crashes: int
) -> Operation[list[Recovered]]:
    """Make due again what a poller picked and no longer beats for.

    Dead means: a heartbeat older than `timeout`, or as far in the future, by the database's clock. Adds a crash,
    so that a task which kills its process can't loop for ever. At most BATCH, those silent for longest first.
    Source: db-scheduler's dead executions; the bound on the future and the crashes are ours.
    """
    parameters = {"tasks": list(tasks), "timeout": timeout, "max_crashes": max_crashes}
    rows = yield Query("recover_dead", {**parameters, "limit": BATCH, "channel": names.channel})
    return _recovered(rows)


def recover_of(names: Names, poller: str, *, max_crashes: int) -> Operation[list[Recovered]]:
    """Make due again what a poller held that is known to have died. At most BATCH."""
    parameters = {"poller": poller, "max_crashes": max_crashes}
    rows = yield Query("recover_of", {**parameters, "limit": BATCH, "channel": names.channel})
    return _recovered(rows)


def release_of(names: Names, poller: str) -> Operation[int]:
    """Hand back what a poller still held when it was ended in order; answers how many."""
    rows = yield Query("release_of", {"poller": poller, "channel": names.channel})
    return len(rows)


def release_strays(names: Names, poller: str, held: Collection[RunKey]) -> Operation[int]:
    """Hand back what a poller has picked and is not among what it holds; answers how many."""
    parameters = {
        "task_names": [name for name, _, _ in held],
        "task_instances": [instance for _, instance, _ in held],
        "versions": [version for _, _, version in held],
    }
    rows = yield Query("release_strays", {**parameters, "poller": poller, "channel": names.channel})
    return len(rows)


def _recovered(rows: list[Row]) -> list[Recovered]:
    return [Recovered(*row[:5]) for row in rows]


def server_uptime() -> Operation[timedelta]:
    """How long the server has been up."""
    uptime: timedelta
    [(uptime,)] = yield Query("server_uptime", {})
    return uptime
