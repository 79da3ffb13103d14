"""Makes due again what ended pollers of this worker left, at once, and what any dead worker holds, after the timeout.

Waits for nobody's lock: who beats for the living must not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgsched.domain.completion import MoveToFailed, Reschedule
from pgsched.domain.instant import iso
from pgsched.errors import InvalidData, RightMissing, RowsLocked, SchemaMismatch
from pgsched.log import Event
from pgsched.store.completing import Receipt, Writer, complete
from pgsched.store.liveness import BATCH, Death, Sweep, recover_dead, recover_of, release_of
from pgsched.store.operation import Query, preceded
from pgsched.store.workers import longer_timeouts
from pgsched.worker.looks import LOOKS_S, Looks
from pgsched.worker.metrics import (
    EXECUTIONS,
    FAILED,
    GIVEN_UP,
    HEARTBEAT,
    POLLER_DIED,
    POLLER_ENDED,
    RECOVERIES,
    STALE,
)
from pgsched.worker.roster import End
from pgsched.worker.run import overran

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime, timedelta

    from pgsched.log import Logger
    from pgsched.store.liveness import Recovered
    from pgsched.store.session import Session
    from pgsched.worker.clock import Clock
    from pgsched.worker.metrics import Metric
    from pgsched.worker.plan import Plan
    from pgsched.worker.roster import Ended
    from pgsched.worker.tally import Tally
    from pgsched.worker.wills import Last, Wills

LAST_LOOKS = 3
"""So many of them must have been made before the worker may end."""

AGAIN_S = 0.5
"""What somebody has locked is tried again after this."""

REFUSED_S = 10.0
"""And what the database refuses after this: somebody has to mend it, and others must not wait for that."""

PRESENT_S = 0.1
"""Whether somebody is gone whose death nobody tells of (his supervisor is dead) is asked as often as this."""

IMPATIENT = Query("set_for_transaction", {"names": ["lock_timeout"], "values": ["100ms"]})


class Recovery:
    """What has been looked for and what is still to be."""

    def __init__(
        self,
        plan: Plan,
        session: Session,
        wills: Wills,
        clock: Clock,
        tally: Tally | None,
        log: Logger,
    ) -> None:
        self._plan = plan
        self._session = session
        self._wills = wills
        self._clock = clock
        self._tally = tally
        self._log = log
        self._looks: dict[str, Looks] = {}
        self._has_companions: set[str] = set()
        self._longer: dict[str, timedelta] = {}

    def wait_s(self, ended: Iterable[Ended]) -> float:
        """Seconds until the next look for what one of these left; infinite where all is done."""
        return min((self._looks_for(each).wait_s for each in ended), default=float("inf"))

    def is_done(self, ended: Iterable[Ended]) -> bool:
        """Whether enough was looked for what these left."""
        return all(
            self._looks_for(each).made >= min(LAST_LOOKS, len(_pauses_s(each))) for each in ended
        )

    def hand_on(self, ended: Iterable[Ended], present: Collection[str]) -> None:
        """What ended pollers held is due again, but for those that are still `present`."""
        known = {each.identity: each for each in ended}
        self._looks = {who: looks for who, looks in self._looks.items() if who in known}
        self._has_companions &= known.keys()
        for each in known.values():
            looks = self._looks_for(each)
            if looks.wait_s:
                continue
            if each.identity in present:
                looks.put_off(PRESENT_S)
            else:
                self._look(each, looks)

    def sweep(self, expected_now: datetime | None) -> None:
        """Make due again what a dead worker holds: a heartbeat timeout after its last sign of life."""
        try:
            self._sweep(expected_now)
        except InvalidData as refused:
            self._log.error(Event.RECOVERY_REFUSED, error=str(refused))

    def _look(self, ended: Ended, looks: Looks) -> None:
        try:
            is_all = self._hand_on_of(ended)
        except InvalidData as refused:
            self._log.error(Event.RECOVERY_REFUSED, poller=ended.identity, error=str(refused))
            looks.put_off(REFUSED_S)
            return
        if is_all:
            looks.note_look()
        else:
            looks.put_off(AGAIN_S)

    def _sweep(self, expected_now: datetime | None) -> None:
        self._ask_timeouts()
        companions: set[str] = set()
        found: list[Recovered] | None = None
        while found is None or len(found) == BATCH:
            terms = Sweep(
                self._plan.heartbeat_timeout,
                self._plan.max_crashes,
                expected_now,
                companions,
                self._longer,
            )
            found = self._session.run(
                recover_dead(self._session.names, list(self._plan.tasks), terms)
            )
            companions.update(each.worker for each in found)
            self._note_recovered(found, HEARTBEAT, reason="heartbeat stopped")

    def _ask_timeouts(self) -> None:
        """Where they can't be read just now, as they were; a role that may not read them judges all by its own.

        A connection that is lost here ends the sweep: after an outage others must have had time to beat.
        """
        try:
            _, rows = self._session.run_together(longer_timeouts(self._plan.heartbeat_timeout))
        except (RowsLocked, RightMissing, SchemaMismatch):
            return
        self._longer = dict(rows)

    def _looks_for(self, ended: Ended) -> Looks:
        """When to look for what an ended poller left."""
        return self._looks.setdefault(ended.identity, Looks(_pauses_s(ended)))

    def _hand_on_of(self, ended: Ended) -> bool:
        """Hand on what one of them left; answers whether nothing that can be seen is left."""
        try:
            self._carry_out_will(ended)
        except RowsLocked:
            return False
        if ended.end is End.DIED:
            return self._recover(ended)
        released = self._session.run(release_of(self._session.names, ended.identity))
        if released.executions:
            facts = {"poller": ended.identity, "executions": released.executions}
            self._log.info(Event.EXECUTION_RELEASED, **facts)
            self._count(released.executions, RECOVERIES, POLLER_ENDED)
        return not released.locked

    def _recover(self, ended: Ended) -> bool:
        who = ended.identity
        found = None
        while found is None or len(found) == BATCH:
            death = Death(ended.cause, ended.started, who in self._has_companions)
            found = self._session.run(
                recover_of(self._session.names, who, death, max_crashes=self._plan.max_crashes)
            )
            if any(each.is_suspect for each in found):
                self._has_companions.add(who)
            self._note_recovered(found, POLLER_DIED, reason=f"poller died: {ended.cause}")
        return True

    def _carry_out_will(self, ended: Ended) -> None:
        """What its poller could only have written too soon: runs that nothing but its end has stopped, as failures.

        Raises: RowsLocked.
        """
        will = self._wills.of(ended.identity)
        if not will:
            return
        writer = Writer(ended.identity, self._plan.polling_interval)
        completions = [last.completion for last in will]
        try:
            receipts = self._session.run(
                preceded(IMPATIENT, complete(self._session.names, writer, completions)),
                is_atomic=True,
            )
        except InvalidData as refused:  # what ran is due again instead
            self._log.error(Event.COMPLETION_REFUSED, poller=ended.identity, error=str(refused))
            receipts = []
        self._wills.forget(ended.identity)
        for last, receipt in zip(will, receipts, strict=False):
            self._tell_will(ended.identity, last, receipt)

    def _tell_will(self, poller: str, last: Last, receipt: Receipt) -> None:
        completion, span = last
        held = completion.execution
        facts: dict[str, object] = {
            "task": held.task_name,
            "instance": held.task_instance,
            "attempt": held.consecutive_failures + 1,
            "poller": poller,
            "reason": "timeout",
            **(span._asdict() if span else {}),
        }
        if receipt is not Receipt.CHANGED:
            stale = {"held_version": held.version, "receipt": receipt.value}
            self._count(1, STALE, held.task_name)
            self._log.warning(Event.COMPLETION_STALE, **facts, **stale)
            return
        is_final = isinstance(completion, MoveToFailed)
        outcome = GIVEN_UP if is_final else FAILED
        self._count(1, EXECUTIONS, held.task_name, outcome)
        error = overran(self._plan.tasks[held.task_name]).line
        facts |= {"outcome": outcome, "error": error}
        if isinstance(completion, Reschedule):
            facts["retry"] = iso(self._clock.instant_of(completion.when))
        if is_final:
            self._log.error(Event.EXECUTION_EXHAUSTED, **facts)
        else:
            self._log.at(self._plan.failures_level, Event.EXECUTION_FAILED, **facts)

    def _count(self, count: int, metric: Metric, *labels: str) -> None:
        if self._tally is not None:
            self._tally.add(count, metric, *labels)

    def _note_recovered(self, found: list[Recovered], counted: str, *, reason: str) -> None:
        buried = [each.task_name for each in found if each.is_buried]
        self._count(len(found) - len(buried), RECOVERIES, counted)
        for task in buried:
            self._count(1, EXECUTIONS, task, GIVEN_UP)
        self._log_recovered(found, reason=reason)

    def _log_recovered(self, found: list[Recovered], *, reason: str) -> None:
        if idle := [each for each in found if not each.is_suspect]:
            self._log.info(
                Event.EXECUTION_RELEASED, poller=idle[0].poller, executions=len(idle), reason=reason
            )
        for each in found:
            if not each.is_suspect:
                continue
            facts = {
                "task": each.task_name,
                "instance": each.task_instance,
                "crashes": each.crashes,
            }
            facts |= {"poller": each.poller, "reason": reason}
            if each.is_buried:
                self._log.error(Event.EXECUTION_BURIED, **facts)
            else:
                self._log.warning(Event.EXECUTION_RECOVERED, **facts)


def _pauses_s(ended: Ended) -> tuple[float, ...]:
    """Before each look for what one left: its last pick may commit after it is dead."""
    return LOOKS_S[:1] if ended.end is End.IN_ORDER else LOOKS_S
