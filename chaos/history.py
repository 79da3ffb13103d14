"""What happened, as facts: runs, faults, and what the workers and the database said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaos.plan import Kind


class Fault(NamedTuple):
    """One that was injected, from when until when (monotonic); `worker` None: the server, and so everybody."""

    kind: Kind
    worker: str | None
    pid: int | None
    began: float
    ended: float


class Run(NamedTuple):
    """One run of one execution. `end` is None where it wrote nothing more: its process was gone.

    `due` is its execution time, as all others by the monotonic clock.
    """

    task: str
    instance: str
    token: int
    pid: int
    worker: str
    due: float
    start: float
    end: float | None
    result: str | None


class Stale(NamedTuple):
    """A worker's word that a completion of its came too late."""

    worker: str
    task: str
    instance: str
    token: int


class History(NamedTuple):
    """All of a chaos run."""

    runs: list[Run]
    faults: list[Fault]
    stale: list[Stale]
    sure: set[tuple[str, str]]
    """What was surely committed by those who scheduled it."""
    left: set[tuple[str, str]]
    """What is still in the table at the end."""
    failed: set[tuple[str, str]]
    effects: dict[str, int]
    """How often each instance of `exact` had its effect."""
    heartbeat_timeout_s: float
    epoch: float
    """What the wall clock says, less what the monotonic one says: the machine's, never a worker's."""
    since: float
    until: float
    """When all workers were up, and when it was looked at what had come of it."""


def runs_of(lines: Iterable[str], epoch: float) -> list[Run]:
    """The log of the tasks, as runs in the order of their starts."""
    runs: dict[tuple[str, str, str, str], Run] = {}
    doubled: list[Run] = []
    for line in lines:
        at, pid, worker, what, task, instance, token, due = line.split()
        key = (task, instance, token, pid)
        if what == "start":
            if key in runs:
                doubled.append(runs[key])
            runs[key] = Run(
                task,
                instance,
                int(token),
                int(pid),
                worker,
                float(due) - epoch,
                float(at),
                None,
                None,
            )
        else:
            runs[key] = runs[key]._replace(end=float(at), result=what)
    return sorted([*runs.values(), *doubled], key=lambda run: run.start)


def stale_of(worker: str, lines: Iterable[str]) -> list[Stale]:
    """The stale completions in the log of a worker."""
    found = []
    for line in lines:
        if not line.startswith("{"):
            continue
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "completion.stale":
            found.append(Stale(worker, event["task"], event["instance"], event["held_version"]))
    return found
