"""Writing what became of held executions: fenced, in batches, with a receipt for each.

A batch is one transaction: a completion and the executions it asked for are written together or not at all.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pgsched.domain.completion import Completion, Delete, MoveToFailed, Release, Reschedule
from pgsched.domain.execution import TaskInstance
from pgsched.store.operation import Operation, Query
from pgsched.store.scheduling import schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsched.domain.execution import NewExecution
    from pgsched.store.statement import Names

C = TypeVar("C", bound=Completion)


class Receipt(StrEnum):
    """What the database answered to a completion."""

    CHANGED = "changed"
    STALE = "stale"
    VANISHED = "vanished"


class Writer(NamedTuple):
    """Who completes, and how soon a new due time must be to be worth a notification."""

    poller: str
    notify_within: timedelta


def is_one_statement(batch: Sequence[Completion]) -> bool:
    """Whether a batch needs no transaction of its own: deletes alone, which is what a busy worker writes."""
    return all(isinstance(completion, Delete) and not completion.followups for completion in batch)


def complete(names: Names, writer: Writer, batch: Sequence[Completion]) -> Operation[list[Receipt]]:
    """Write a batch of completions; answers a receipt for each, in order."""
    changed: set[TaskInstance] = set()
    for query in _queries(names, writer, batch):
        rows = yield query
        changed.update(TaskInstance(row[0], row[1]) for row in rows)
    yield from _schedule_followups(names, batch, changed)
    if len(changed) == len(batch):
        return [Receipt.CHANGED] * len(batch)
    missed = [completion for completion in batch if completion.execution.id not in changed]
    rows = yield Query("which_exist", _ids(missed))
    existing = {TaskInstance(*row) for row in rows}
    return [_receipt(completion.execution.id, changed, existing) for completion in batch]


def _receipt(id: TaskInstance, changed: set[TaskInstance], existing: set[TaskInstance]) -> Receipt:
    if id in changed:
        return Receipt.CHANGED
    return Receipt.STALE if id in existing else Receipt.VANISHED


def _queries(names: Names, writer: Writer, batch: Sequence[Completion]) -> list[Query]:
    by_poller = {"poller": writer.poller}
    notifying = {**by_poller, "channel": names.channel}
    queries = []
    if deletes := _only(Delete, batch):
        queries.append(Query("complete_delete", {**_held(deletes), **by_poller}))
    if reschedules := _only(Reschedule, batch):
        parameters = {**_held(reschedules), **_times(reschedules), **notifying}
        queries.append(
            Query("complete_reschedule", {**parameters, "notify_within": writer.notify_within})
        )
    if exhausted := _only(MoveToFailed, batch):
        parameters = {**_held(exhausted), **_errors(exhausted), **by_poller}
        queries.append(Query("complete_failed", parameters))
    if releases := _only(Release, batch):
        queries.append(Query("release", {**_held(releases), **notifying}))
    return queries


def _schedule_followups(
    names: Names, batch: Sequence[Completion], changed: set[TaskInstance]
) -> Operation[None]:
    """What the runs asked for: only of those whose completion counted, a superseded run asks for nothing."""
    followups: list[NewExecution] = [
        followup
        for completion in batch
        if isinstance(completion, Delete | Reschedule) and completion.execution.id in changed
        for followup in completion.followups
    ]
    yield from schedule(names, followups)


def _only(kind: type[C], batch: Sequence[Completion]) -> list[C]:
    return [completion for completion in batch if isinstance(completion, kind)]


def _ids(batch: Sequence[Completion]) -> dict[str, Any]:
    return {
        "task_names": [completion.execution.task_name for completion in batch],
        "task_instances": [completion.execution.task_instance for completion in batch],
    }


def _held(batch: Sequence[Completion]) -> dict[str, Any]:
    return {**_ids(batch), "versions": [completion.execution.version for completion in batch]}


def _times(batch: Sequence[Reschedule]) -> dict[str, Any]:
    whens = [completion.when for completion in batch]
    return {
        "ats": [None if isinstance(when, timedelta) else when for when in whens],
        "delays": [when if isinstance(when, timedelta) else None for when in whens],
        "successes": [completion.has_succeeded for completion in batch],
    }


def _errors(batch: Sequence[MoveToFailed]) -> dict[str, Any]:
    return {
        "errors": [completion.error for completion in batch],
        "tracebacks": [completion.traceback for completion in batch],
    }
