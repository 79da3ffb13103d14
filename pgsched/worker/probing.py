"""Asks the database how it fares, again and again: all that the reporter tells and shared memory does not hold.

On one connection of its own, with short limits. Of what only one worker is to look at, the holder of the lease does.
"""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from pgsched.errors import DatabaseUnavailable, PgschedError, SchemaMismatch
from pgsched.store.leasing import release_lease, take_lease
from pgsched.store.migrating import needed_version
from pgsched.store.sampling import readiness, sample
from pgsched.store.session import Session
from pgsched.worker.clock import Clock, monotonic
from pgsched.worker.guard import Guard
from pgsched.worker.timer import Timer

if TYPE_CHECKING:
    from pgsched.store.sampling import Sample
    from pgsched.worker.plan import Plan

PROBE_S = 3.0
PROBE_AGAIN_S = 1.0
"""While something is amiss: what is well again should show soon."""

LONGEST_CALL_S = 4.0
STATEMENT_TIMEOUT = timedelta(seconds=3)

LEASE = "sampler"
SAMPLE_S = 15.0
LEASE_LENGTH = timedelta(seconds=45)
"""Two samples may be missed before somebody else takes them."""


class Probe(NamedTuple):
    """What the last try found, and when it was (monotonic); a sample while the lease is ours."""

    at: float
    is_up: bool = False
    database: str = "not asked yet"
    is_schema_right: bool = False
    schema: str = "not known"
    machine_ahead_s: float | None = None


class Probing:
    """The conversation of one reporter with the database."""

    def __init__(self, plan: Plan, holder: str) -> None:
        self._plan = plan
        self._holder = holder
        self._recurring = [name for name, task in plan.tasks.items() if task.schedule is not None]
        self._session = Session(
            plan.database,
            f"pgsched {plan.worker_id}/reporter",
            Guard(LONGEST_CALL_S),
            statement_timeout=STATEMENT_TIMEOUT,
        )
        self._clock = Clock()
        self._probe = Timer(PROBE_S)
        self._next_sample = Timer(SAMPLE_S)
        self._ahead_s: float | None = None
        self._sample: Sample | None = None
        self._is_ours_until = -math.inf
        self.last = Probe(monotonic())

    @property
    def sample(self) -> Sample | None:
        """What was sampled last; nothing once the lease may be somebody else's."""
        return self._sample if monotonic() < self._is_ours_until else None

    @property
    def wait_s(self) -> float:
        """Seconds until `turn` has something to do."""
        return self._probe.wait_s

    def turn(self) -> None:
        """Whatever is due. Never raises, and takes some seconds at most."""
        if self._probe.wait_s:
            return
        self.last = self._asked()
        self._probe.restart(None if self.last.is_up else PROBE_AGAIN_S)
        if self.last.is_up and self.last.is_schema_right and not self._next_sample.wait_s:
            self._take_part()

    def end(self) -> None:
        """Let somebody else sample at once."""
        if self.sample is not None:
            with suppress(PgschedError):
                self._session.run(release_lease(LEASE, self._holder))

    def _asked(self) -> Probe:
        asked_at = monotonic()
        needed = needed_version()
        try:
            found = self._session.run(readiness(needed))
        except SchemaMismatch as error:
            return Probe(
                monotonic(),
                is_up=True,
                database="reachable",
                schema=error.reason,
                machine_ahead_s=self._ahead_s,
            )
        except PgschedError as error:
            # That the database isn't available is what the check is about.
            reason = error.reason if isinstance(error, DatabaseUnavailable) else str(error)
            return Probe(monotonic(), database=reason, machine_ahead_s=self._ahead_s)
        self._clock.observe(found.at, asked_at)
        self._ahead_s = self._clock.machine_ahead.total_seconds()
        return Probe(
            monotonic(),
            found.is_writable,
            "takes writes" if found.is_writable else "takes no writes",
            found.is_right,
            f"version {found.version}, needed is {needed}",
            self._ahead_s,
        )

    def _take_part(self) -> None:
        """Sample, if it is this worker that is to; who isn't looks again soon whether it has become so."""
        asked_at = monotonic()
        try:
            if not self._session.run(take_lease(LEASE, self._holder, LEASE_LENGTH)):
                self._is_ours_until = -math.inf
                return
            self._next_sample.restart()
            tasks = list(self._plan.tasks)
            self._sample = self._session.run(sample(self._session.names, tasks, self._recurring))
        except PgschedError:
            return  # the next probe tells what is wrong
        self._is_ours_until = asked_at + LEASE_LENGTH.total_seconds()
