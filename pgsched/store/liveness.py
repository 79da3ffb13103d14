"""Who is alive and who is not: beats for what is held, recovery of what is dead."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from pgsched.domain.execution import TaskInstance
from pgsched.store.operation import Operation, Query, array

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime, timedelta

    from pgsched.domain.execution import RunKey
    from pgsched.store.operation import Row
    from pgsched.store.statement import Names

BATCH = 500
"""Recoveries a statement: bounded, so that one sweep holds no locks for long. Callers repeat while it is full."""


SUSPECTED_TWICE = 2
"""So many suspicions, and an execution runs as the only one of its kind in a worker: if that dies too, it was it."""


class Recovered(NamedTuple):
    """A dead execution, made due again, or buried after too many crashes.

    Where it isn't even a suspect it had not started, and is as it was before it was picked.
    """

    task_name: str
    task_instance: str
    poller: str | None
    crashes: int
    is_suspect: bool
    is_buried: bool

    @property
    def worker(self) -> str:
        """Whose poller it was: all before the last slash, as `dead_by_heartbeat.sql` sees it."""
        return (self.poller or "").rsplit("/", 1)[0]


class Beat(NamedTuple):
    """How many executions were beaten for, and when that was by the database's clock."""

    executions: int
    at: datetime


def beat(pollers: Sequence[str]) -> Operation[Beat]:
    """Refresh the heartbeat of everything that these pollers hold."""
    [row] = yield Query("beat", {"pollers": list(pollers)})
    return Beat(*row)


class Sweep(NamedTuple):
    """How a search for the dead judges, by the database's clock.

    Where that has jumped away from `expected_now` by more than a quarter of the timeout, nobody is dead: all look so.
    `companions` are workers of which earlier rounds of the same sweep have recovered something, `longer` are timeouts of
    workers that want to be judged by a longer one.
    """

    timeout: timedelta
    max_crashes: int
    expected_now: datetime | None = None
    companions: Collection[str] = ()
    longer: Mapping[str, timedelta] = MappingProxyType({})


def recover_dead(names: Names, tasks: Sequence[str], sweep: Sweep) -> Operation[list[Recovered]]:
    """Make due again what a poller picked and no longer beats for.

    Dead is a poller whose newest heartbeat is older than the timeout, or as far in the future. What died as the only
    one of its worker has a crash more, so that a task which kills its process can't loop for ever; of several each is
    suspected. At most BATCH, those silent for longest first.
    Source: db-scheduler's dead executions; the bound on the future, crashes and suspicions are ours.
    """
    which = {
        "tasks": list(tasks),
        "timeout": sweep.timeout,
        "expected_now": sweep.expected_now,
        "companions": list(sweep.companions),
        "workers": list(sweep.longer),
        "timeouts": list(sweep.longer.values()),
        "most_suspicions": SUSPECTED_TWICE - 1,
    }
    return _recovered((yield Query("recover_dead", which | _terms(names, sweep.max_crashes))))


class Death(NamedTuple):
    """How a poller died: of what, what it had started (their `seq`), and whether some of it was recovered before."""

    cause: str
    started: Sequence[int]
    has_companions: bool = False


def recover_of(
    names: Names, poller: str, death: Death, *, max_crashes: int
) -> Operation[list[Recovered]]:
    """Make due again what a dead poller held: with a crash more where it was the only one started. At most BATCH."""
    started = array(str(seq) for seq in death.started)
    which = {"poller": poller, "started": started, "has_companions": death.has_companions}
    return _recovered((yield Query("recover_of", which | _terms(names, max_crashes, death.cause))))


def recover_crashed(
    names: Names, poller: str, crashed: Collection[RunKey], *, cause: str, max_crashes: int
) -> Operation[list[Recovered]]:
    """Make due again, with a crash more, what died of `cause` in processes of their own."""
    which = {"poller": poller, **_keys(crashed)}
    return _recovered((yield Query("recover_crashed", which | _terms(names, max_crashes, cause))))


def names_of(poller: str, started: Sequence[int]) -> Operation[list[TaskInstance]]:
    """Which executions a poller holds that have these `seq`."""
    parameters = {"poller": poller, "started": array(str(seq) for seq in started)}
    return [TaskInstance(*row) for row in (yield Query("names_of", parameters))]


class Released(NamedTuple):
    """How many were handed back, and how many are left since somebody has locked them."""

    executions: int
    locked: int


def release_of(names: Names, poller: str) -> Operation[Released]:
    """Hand back what a poller still held when it was ended in order."""
    [row] = yield Query("release_of", {"poller": poller, "channel": names.channel})
    return Released(*row[:2])


def release_strays(names: Names, poller: str, held: Collection[RunKey]) -> Operation[int]:
    """Hand back what a poller has picked and is not among what it holds; answers how many."""
    which = {"poller": poller, "channel": names.channel, **_keys(held)}
    return len((yield Query("release_strays", which)))


def _keys(runs: Collection[RunKey]) -> dict[str, Any]:
    return {
        "task_names": [name for name, _, _ in runs],
        "task_instances": [instance for _, instance, _ in runs],
        "versions": [version for _, _, version in runs],
    }


def _terms(names: Names, max_crashes: int, cause: str | None = None) -> dict[str, Any]:
    terms = {"max_crashes": max_crashes, "cause": cause, "limit": BATCH}
    return terms | {"channel": names.channel}


def _recovered(rows: list[Row]) -> list[Recovered]:
    return [Recovered(*row[:6]) for row in rows]


def server_uptime() -> Operation[timedelta]:
    """How long the server has been up."""
    uptime: timedelta
    [(uptime,)] = yield Query("server_uptime", {})
    return uptime
