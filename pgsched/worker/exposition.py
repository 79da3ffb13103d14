"""What a worker has counted as Prometheus reads it: the tallies of all its processes as one, and how it is now.

Built anew for each who asks. `prometheus_client` is loaded only where there is a reporter.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from pgsched import __version__
from pgsched.worker.board import Moment
from pgsched.worker.clock import monotonic
from pgsched.worker.metrics import (
    BUILD_INFO,
    CLOCK_OFFSET,
    DATABASE_UP,
    DEAD_ROWS,
    DRAINING,
    HEARTBEAT_AGE,
    LAST_SUCCESS,
    METRICS,
    NEXT_RUN,
    OLDEST_DUE_AGE,
    OLDEST_TRANSACTION_AGE,
    POLLERS,
    QUEUE,
    SLOTS,
    WORKERS,
    Kind,
    Series,
)
from pgsched.worker.readiness import is_draining

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from prometheus_client.core import Metric as Family

    from pgsched.store.sampling import Sample
    from pgsched.worker.board import Board
    from pgsched.worker.metrics import Metric
    from pgsched.worker.probing import Probe
    from pgsched.worker.tally import Tally

Numbers: TypeAlias = dict[Series, list[float]]
"""One for a counter or a gauge; of a histogram the sum and the buckets."""

OPENMETRICS = "application/openmetrics-text"


def exposition(numbers: Numbers, accept: str) -> tuple[bytes, str]:
    """The page, and its content type: OpenMetrics for whoever asks for it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(numbers))
    if OPENMETRICS in accept:
        page = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]  # it has no types
        return page, openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(registry), CONTENT_TYPE_LATEST


def counted(tallies: Iterable[Tally]) -> Numbers:
    """All that the processes have counted, added up."""
    sums: Numbers = {}
    for tally in tallies:
        for series, numbers in tally:
            known = sums.get(series)
            sums[series] = (
                numbers
                if known is None
                else [one + other for one, other in zip(known, numbers, strict=True)]
            )
    return sums


def present(
    supervisor: Board, pollers: Sequence[Board], probe: Probe, *, concurrency: int
) -> Numbers:
    """How the worker is now."""
    now = monotonic()
    ready = [board for board in pollers if board.is_ready]
    gauges: dict[Series, float] = {
        Series(POLLERS): len(ready),
        Series(SLOTS): len(ready) * concurrency,
        Series(DATABASE_UP): probe.is_up,
        Series(DRAINING): is_draining(supervisor),
        Series(BUILD_INFO, (__version__,)): 1,
    }
    if ready:
        gauges[Series(HEARTBEAT_AGE)] = max(now - each.last(Moment.IN_TOUCH) for each in ready)
    if probe.machine_ahead_s is not None:
        gauges[Series(CLOCK_OFFSET)] = probe.machine_ahead_s
    return {series: [float(number)] for series, number in gauges.items()}


def sampled(sample: Sample | None) -> Numbers:
    """What only one worker of the cluster tells."""
    if sample is None:
        return {}
    gauges = {
        Series(OLDEST_DUE_AGE): sample.oldest_due_age_s,
        Series(WORKERS): sample.workers,
        Series(DEAD_ROWS): sample.dead_rows,
        Series(OLDEST_TRANSACTION_AGE): sample.oldest_transaction_age_s,
        **{Series(QUEUE, (state,)): count for state, count in sample.executions.items()},
        **{Series(NEXT_RUN, (task,)): at for task, at in sample.next_runs.items()},
        **{Series(LAST_SUCCESS, (task,)): at for task, at in sample.last_successes.items()},
    }
    return {series: [float(number)] for series, number in gauges.items()}


class _Once(Collector):
    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def collect(self) -> Iterator[Family]:
        """Each metric with its series, in the order of the reference."""
        by_metric: dict[Metric, list[tuple[tuple[str, ...], list[float]]]] = {}
        for (metric, labels), numbers in self._numbers.items():
            by_metric.setdefault(metric, []).append((labels, numbers))
        for metric in METRICS:
            if metric in by_metric:
                yield _family(metric, by_metric[metric])


def _family(metric: Metric, series: list[tuple[tuple[str, ...], list[float]]]) -> Family:
    match metric.kind:
        case Kind.HISTOGRAM:
            bounds = [*map(str, metric.buckets), "+Inf"]
            histogram = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            for labels, (total, *buckets) in series:
                ups_to = list(zip(bounds, accumulate(buckets), strict=True))
                histogram.add_metric(labels, ups_to, total)
            return histogram
        case Kind.COUNTER:
            kind: type[CounterMetricFamily | GaugeMetricFamily] = CounterMetricFamily
        case Kind.GAUGE:
            kind = GaugeMetricFamily
    family = kind(metric.name, metric.meaning, labels=metric.labels)
    for labels, [number] in series:
        family.add_metric(labels, number)
    return family
