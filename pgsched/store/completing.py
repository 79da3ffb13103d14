"""Writing what became of held executions: fenced, in batches, with a receipt for each.

A batch is one transaction: a completion and the executions it asked for are written together or not at all.
Completions that are nothing but a delete or a new time go the quick way first: to the very row version that the pick
wrote (its place and its writer), which saves two index searches each. Whatever that misses is completed by key.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pgsched.domain.completion import Completion, Crash, Delete, MoveToFailed, Release, Reschedule
from pgsched.domain.execution import TaskInstance
from pgsched.domain.mask import NO_MASK, Mask
from pgsched.store.liveness import recover_crashed
from pgsched.store.operation import Operation, Query, array
from pgsched.store.scheduling import schedule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgsched.domain.execution import Held, NewExecution, RunKey
    from pgsched.store.operation import Row
    from pgsched.store.statement import Names

C = TypeVar("C", bound=Completion)


PLAIN = (Delete, Reschedule)


class Receipt(StrEnum):
    """What the database answered to a completion."""

    CHANGED = "changed"
    STALE = "stale"
    VANISHED = "vanished"


class Writer(NamedTuple):
    """Who completes, how soon a new due time must be to be worth a notification, and how many crashes are too many.

    `mask` hides what the errors of tasks must not tell.
    """

    poller: str
    notify_within: timedelta
    max_crashes: int = 5
    mask: Mask = NO_MASK


class Batch(NamedTuple):
    """A query for some of the completions given, and which they were."""

    query: Query
    positions: list[int]


def is_plain(completion: Completion) -> bool:
    """Whether it is nothing but a delete or a new time."""
    return isinstance(completion, PLAIN) and not completion.followups


def complete_in_place(
    names: Names, writer: Writer, completions: Sequence[Completion]
) -> list[Batch]:
    """The quick way for plain completions, one query a kind: each answers the numbers, from 1 on, of those it changed.

    What it misses (a heartbeat has moved the row, or it is stale) is to be completed by key.
    """
    batches = []
    if deletes := _positions(Delete, completions):
        parameters = _located(writer, _only(Delete, completions))
        batches.append(Batch(Query("complete_delete_in_place", parameters), deletes))
    if len(deletes) < len(completions):
        parameters = _rescheduled(names, writer, _only(Reschedule, completions))
        reschedules = _positions(Reschedule, completions)
        batches.append(Batch(Query("complete_reschedule_in_place", parameters), reschedules))
    return batches


def found_in_place(
    batches: Sequence[Batch], answers: Sequence[list[Row]], count: int
) -> list[bool]:
    """Which of `count` completions the answers to their batches speak of."""
    found = [False] * count
    for batch, rows in zip(batches, answers, strict=True):
        for row in rows:
            found[batch.positions[row[0] - 1]] = True
    return found


def _positions(kind: type[Completion], completions: Sequence[Completion]) -> list[int]:
    return [at for at, completion in enumerate(completions) if isinstance(completion, kind)]


def complete(names: Names, writer: Writer, batch: Sequence[Completion]) -> Operation[list[Receipt]]:
    """Write a batch of completions by key; answers a receipt for each, in order."""
    changed: set[RunKey] = set()
    for completions, query in _queries(names, writer, batch):
        rows = yield query
        changed.update(completions[row[0] - 1].execution.key for row in rows)
    for crash in _only(Crash, batch):
        recovered = yield from recover_crashed(
            names,
            writer.poller,
            [crash.execution.key],
            cause=crash.cause,
            max_crashes=writer.max_crashes,
        )
        changed.update(crash.execution.key for _ in recovered)
    yield from _schedule_followups(names, batch, changed)
    if len(changed) == len(batch):
        return [Receipt.CHANGED] * len(batch)
    missed = [completion for completion in batch if completion.execution.key not in changed]
    rows = yield Query("which_exist", _ids(missed))
    existing = {TaskInstance(*row) for row in rows}
    return [_receipt(completion.execution, changed, existing) for completion in batch]


def _receipt(execution: Held, changed: set[RunKey], existing: set[TaskInstance]) -> Receipt:
    if execution.key in changed:
        return Receipt.CHANGED
    return Receipt.STALE if execution.id in existing else Receipt.VANISHED


def _queries(
    names: Names, writer: Writer, batch: Sequence[Completion]
) -> Iterator[tuple[Sequence[Completion], Query]]:
    by_poller = {"poller": writer.poller}
    if deletes := _only(Delete, batch):
        yield deletes, Query("complete_delete", _located(writer, deletes) | _ids(deletes))
    if reschedules := _only(Reschedule, batch):
        parameters = _rescheduled(names, writer, reschedules) | _ids(reschedules)
        yield reschedules, Query("complete_reschedule", parameters)
    if exhausted := _only(MoveToFailed, batch):
        parameters = {**_held(exhausted), **_errors(writer.mask, exhausted), **by_poller}
        yield exhausted, Query("complete_failed", parameters)
    if releases := _only(Release, batch):
        yield releases, Query("release", {**_held(releases), **by_poller, "channel": names.channel})


def _schedule_followups(
    names: Names, batch: Sequence[Completion], changed: set[RunKey]
) -> Operation[None]:
    """What the runs asked for: only of those whose completion counted, a superseded run asks for nothing."""
    followups: list[NewExecution] = [
        followup
        for completion in batch
        if isinstance(completion, Delete | Reschedule) and completion.execution.key in changed
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
    return {**_ids(batch), "versions": _versions(batch)}


def _versions(batch: Sequence[Completion]) -> str:
    return array([str(completion.execution.version) for completion in batch])


def _located(writer: Writer, batch: Sequence[Delete] | Sequence[Reschedule]) -> dict[str, Any]:
    executions = [completion.execution for completion in batch]
    return {
        "poller": writer.poller,
        "task_names": "{}",
        "task_instances": "{}",
        "places": array([execution.place for execution in executions]),
        "writers": array([execution.writer for execution in executions]),
        "versions": _versions(batch),
    }


def _rescheduled(names: Names, writer: Writer, batch: Sequence[Reschedule]) -> dict[str, Any]:
    whens = [completion.when for completion in batch]
    return {
        **_located(writer, batch),
        "channel": names.channel,
        "notify_within": writer.notify_within,
        "ats": array(None if isinstance(when, timedelta) else when.isoformat() for when in whens),
        "delays": array(
            f"{when.days} days {when.seconds} s {when.microseconds} us"
            if isinstance(when, timedelta)
            else None
            for when in whens
        ),
        "successes": array(str(completion.has_succeeded) for completion in batch),
    }


def _errors(mask: Mask, batch: Sequence[MoveToFailed]) -> dict[str, Any]:
    return {
        "errors": [mask.hide(completion.error) for completion in batch],
        "tracebacks": [mask.hide(completion.traceback) for completion in batch],
    }
