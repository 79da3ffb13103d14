"""Which metrics a worker gives: their names, what they mean, their labels. docs/reference/metrics.md is made from it.

Counts nothing and shows nothing. A label has a bound: `task` is only ever one that the modules declare.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What Prometheus calls the type."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Source(StrEnum):
    """Which worker gives it."""

    EACH = "each worker"
    SAMPLER = "the one that holds the lease `sampler`"


class Metric(NamedTuple):
    """One name. `buckets` are the upper bounds of a histogram's, without the infinite last one."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    source: Source = Source.EACH


class Series(NamedTuple):
    """One line of a metric: it, and the values of its labels."""

    metric: Metric
    labels: tuple[str, ...] = ()


SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0),
)
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)

OUTCOMES = SUCCEEDED, FAILED, GIVEN_UP, INTERRUPTED = (
    *("succeeded", "failed", "given_up", "interrupted"),
)
REASONS_TO_RECOVER = HEARTBEAT, POLLER_DIED, POLLER_ENDED = (
    *("heartbeat", "poller_died", "poller_ended"),
)
REASONS_TO_RESTART = DIED, KILLED, RECYCLED = ("died", "killed", "recycled")
PICK_RESULTS = FULL, PARTIAL, EMPTY = ("full", "partial", "empty")
STATES = ("due", "scheduled", "running", "retrying", "failed", "unknown")

EXECUTIONS = Metric(
    "pgsched_executions_total",
    Kind.COUNTER,
    "Runs whose end is written. outcome: succeeded; failed (it will run again); given_up (it is a failed execution "
    "now); interrupted (handed back at shutdown).",
    ("task", "outcome"),
)
DURATION = Metric(
    "pgsched_execution_duration_seconds",
    Kind.HISTOGRAM,
    "How long the runs took that a poller has written the end of.",
    ("task",),
    SECONDS,
)
LATENESS = Metric(
    "pgsched_execution_lateness_seconds",
    Kind.HISTOGRAM,
    "How long after its time each of these runs started.",
    ("task",),
    SECONDS,
)
STALE = Metric(
    "pgsched_stale_completions_total",
    Kind.COUNTER,
    "Results that came too late and were not written: the execution had been recovered or changed meanwhile.",
    ("task",),
)
RECOVERIES = Metric(
    "pgsched_recoveries_total",
    Kind.COUNTER,
    "Executions made due again since who held them was gone. reason: heartbeat (a worker fell silent); poller_died; "
    "poller_ended (at a shutdown, or replaced).",
    ("reason",),
)
POLLER_RESTARTS = Metric(
    "pgsched_poller_restarts_total",
    Kind.COUNTER,
    "Pollers that another one replaces. reason: died; killed (it stood still); recycled (in order: it had run or held "
    "enough, or something overran).",
    ("reason",),
)
PICKS = Metric(
    "pgsched_picks_total",
    Kind.COUNTER,
    "Picks. result: full (as many as there was room for); partial; empty.",
    ("result",),
)
PICK_BATCH = Metric(
    "pgsched_pick_batch_size",
    Kind.HISTOGRAM,
    "Executions that a pick took, where it took any.",
    (),
    SIZES,
)
WRITE_BATCH = Metric(
    "pgsched_write_batch_size",
    Kind.HISTOGRAM,
    "Completions written in one round trip.",
    (),
    SIZES,
)
POLLERS = Metric("pgsched_pollers", Kind.GAUGE, "Pollers that are connected.")
SLOTS = Metric("pgsched_slots", Kind.GAUGE, "Executions that these can run at a time.")
SLOTS_BUSY = Metric("pgsched_slots_busy", Kind.GAUGE, "Executions that they run now.")
HEARTBEAT_AGE = Metric(
    "pgsched_heartbeat_age_seconds",
    Kind.GAUGE,
    "How long ago the executions of a poller were last beaten for; that of the oldest beat.",
)
CLOCK_OFFSET = Metric(
    "pgsched_clock_offset_seconds",
    Kind.GAUGE,
    "How far this machine's clock is ahead of the database's. Nothing depends on it but what logs show.",
)
LISTENER_UP = Metric(
    "pgsched_listener_up",
    Kind.GAUGE,
    "1 while notifications are heard. Absent behind a transaction pooler, where there are none.",
)
DATABASE_UP = Metric(
    "pgsched_database_up", Kind.GAUGE, "1 while the database answers this worker and takes writes."
)
DRAINING = Metric("pgsched_draining", Kind.GAUGE, "1 once the worker has been told to stop.")
RESIDENT = Metric(
    "pgsched_process_resident_bytes",
    Kind.GAUGE,
    "Memory that the worker's processes hold, pages that they share counted in each. process: poller (all of them), "
    "housekeeper, supervisor.",
    ("process",),
)
BUILD_INFO = Metric("pgsched_build_info", Kind.GAUGE, "Always 1.", ("version",))

QUEUE = Metric(
    "pgsched_queue_executions",
    Kind.GAUGE,
    "Executions in the table, none counted beyond 100,000. state: due; scheduled; running; retrying (waits for its "
    "next try); failed; unknown (waits, and no live worker knows its task: counted as due or scheduled too).",
    ("state",),
    source=Source.SAMPLER,
)
OLDEST_DUE_AGE = Metric(
    "pgsched_oldest_due_age_seconds",
    Kind.GAUGE,
    "For how long the oldest due execution of a known task has been due; 0 where none is.",
    source=Source.SAMPLER,
)
WORKERS = Metric(
    "pgsched_workers",
    Kind.GAUGE,
    "Workers that have told of themselves lately.",
    source=Source.SAMPLER,
)
DEAD_ROWS = Metric(
    "pgsched_table_dead_rows",
    Kind.GAUGE,
    "Dead row versions in the table of executions, as Postgres estimates them.",
    source=Source.SAMPLER,
)
OLDEST_TRANSACTION_AGE = Metric(
    "pgsched_oldest_transaction_age_seconds",
    Kind.GAUGE,
    "Age of the oldest transaction in the database that the role may see: dead rows can't be swept beneath it.",
    source=Source.SAMPLER,
)
NEXT_RUN = Metric(
    "pgsched_recurring_next_run_timestamp_seconds",
    Kind.GAUGE,
    "When a recurring task runs next, in Unix time.",
    ("task",),
    source=Source.SAMPLER,
)
LAST_SUCCESS = Metric(
    "pgsched_recurring_last_success_timestamp_seconds",
    Kind.GAUGE,
    "When it last succeeded, in Unix time; absent where it never has.",
    ("task",),
    source=Source.SAMPLER,
)

METRICS = (
    *(EXECUTIONS, DURATION, LATENESS, STALE, RECOVERIES, POLLER_RESTARTS),
    *(PICKS, PICK_BATCH, WRITE_BATCH),
    *(POLLERS, SLOTS, SLOTS_BUSY, HEARTBEAT_AGE, CLOCK_OFFSET),
    *(LISTENER_UP, DATABASE_UP, DRAINING, RESIDENT, BUILD_INFO),
    *(QUEUE, OLDEST_DUE_AGE, WORKERS, DEAD_ROWS, OLDEST_TRANSACTION_AGE, NEXT_RUN, LAST_SUCCESS),
)
