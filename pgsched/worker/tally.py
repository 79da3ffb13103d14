"""What one process of a worker has counted, in memory that the reporter reads.

Made before the first fork. It belongs to a place (a poller's slot, the housekeeper's, the supervisor's), outlives the
processes that take it one after the other, and is never cleared: counters only grow. One process writes at a time,
without a lock. A reader may find a run in one counter that is not yet in the next; each number by itself is whole, as
each is written in one piece.
"""

from __future__ import annotations

import math
import mmap
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from pgsched.worker.metrics import (
    DURATION,
    EXECUTIONS,
    LATENESS,
    LISTENER_UP,
    OUTCOMES,
    PICK_BATCH,
    PICK_RESULTS,
    PICKS,
    POLLER_RESTARTS,
    REASONS_TO_RECOVER,
    REASONS_TO_RESTART,
    RECOVERIES,
    RESIDENT,
    SLOTS_BUSY,
    STALE,
    WRITE_BATCH,
    Kind,
    Series,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgsched.worker.metrics import Metric

CELL_BYTES = 8


class Tally:
    """Numbers of fixed places. Of a histogram: the sum, then how many fell into each bucket.

    What has no place here (a task that wasn't known when this was made) is not counted, and nobody's work stops for it.
    """

    def __init__(self, series: Iterable[Series]) -> None:
        self._series = tuple(series)
        self._places: dict[tuple[str, tuple[str, ...]], int] = {}
        cells = 0
        for each in self._series:
            self._places[each.metric.name, each.labels] = cells
            cells += _cells_of(each.metric)
        self._cells = memoryview(mmap.mmap(-1, CELL_BYTES * cells)).cast("d")

    def add(self, count: float, metric: Metric, *labels: str) -> None:
        if (place := self._places.get((metric.name, labels))) is not None:
            self._cells[place] += count

    def note(self, value: float, metric: Metric, *labels: str) -> None:
        """What a gauge shows from now on."""
        if (place := self._places.get((metric.name, labels))) is not None:
            self._cells[place] = value

    def observe(self, values: list[float], metric: Metric, *labels: str) -> None:
        """More in a histogram: many at once cost a third of what they cost one by one."""
        if (place := self._places.get((metric.name, labels))) is None:
            return
        self._cells[place] += max(
            0.0, sum(values)
        )  # a clock that is corrected must not make it fall
        values.sort()
        bounds, counted = (*metric.buckets, math.inf), 0
        while counted < len(values):
            bucket = bisect_left(bounds, values[counted])
            up_to = bisect_right(values, bounds[bucket], counted)
            self._cells[place + 1 + bucket] += up_to - counted
            counted = up_to

    def __iter__(self) -> Iterator[tuple[Series, list[float]]]:
        """All that is counted, as it is now."""
        for series in self._series:
            place = self._places[series.metric.name, series.labels]
            yield series, list(self._cells[place : place + _cells_of(series.metric)])


def _cells_of(metric: Metric) -> int:
    return len(metric.buckets) + 2 if metric.kind is Kind.HISTOGRAM else 1


def of_poller(tasks: Iterable[str]) -> Tally:
    """For one slot."""
    by_task = [
        series
        for task in tasks
        for series in (
            *(Series(EXECUTIONS, (task, outcome)) for outcome in OUTCOMES),
            *(Series(metric, (task,)) for metric in (STALE, DURATION, LATENESS)),
        )
    ]
    picks = [Series(PICKS, (result,)) for result in PICK_RESULTS]
    others = [Series(metric) for metric in (PICK_BATCH, WRITE_BATCH, SLOTS_BUSY)]
    return Tally([*by_task, *picks, *others, Series(RESIDENT, ("poller",))])


def of_housekeeper(tasks: Iterable[str], *, is_listening: bool) -> Tally:
    """It ends runs too: those that only their poller's end has stopped, and those that it buries."""
    ends = [Series(EXECUTIONS, (task, outcome)) for task in tasks for outcome in OUTCOMES]
    recoveries = [Series(RECOVERIES, (reason,)) for reason in REASONS_TO_RECOVER]
    listener = [Series(LISTENER_UP)] if is_listening else []
    return Tally([*ends, *recoveries, *listener, Series(RESIDENT, ("housekeeper",))])


def of_supervisor() -> Tally:
    restarts = [Series(POLLER_RESTARTS, (reason,)) for reason in REASONS_TO_RESTART]
    return Tally([*restarts, Series(RESIDENT, ("supervisor",))])
