"""What became of a run, in one line of the log. Never one for a poll, and none that the level leaves out is made up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgsched.domain.completion import Crash, MoveToFailed, Release, Reschedule
from pgsched.domain.instant import iso
from pgsched.domain.outcome import SUCCEEDED, Committed, Crashed, Failed, error_line
from pgsched.log import Event
from pgsched.store.completing import Receipt
from pgsched.worker import metrics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgsched.domain.execution import Held
    from pgsched.domain.mask import Mask
    from pgsched.domain.outcome import Finished
    from pgsched.errors import InvalidData
    from pgsched.log import Logger
    from pgsched.worker.clock import Clock
    from pgsched.worker.run import Run


class Teller:
    """Of one poller: told of each completion once, when it has its receipt, with those answered together."""

    def __init__(
        self, log: Logger, clock: Clock, *, failures_level: int, max_crashes: int, mask: Mask
    ) -> None:
        self._log = log
        self._clock = clock
        self._origin = clock.at(0.0)
        self._failures_level = failures_level
        self._max_crashes = max_crashes
        self._mask = mask

    def tell(self, runs: Iterable[Run], receipt: Receipt) -> None:
        self._origin = self._clock.at(0.0)
        if receipt is Receipt.CHANGED:
            plain, runs = _split(runs)
            if plain:  # where there are none, what they have in common would cost half a line
                successes = (self._success(run.finished) for run in plain)
                self._log.info_each(Event.EXECUTION_COMPLETED, successes)
        for run in runs:
            self._tell(run, receipt)

    def _tell(self, run: Run, receipt: Receipt) -> None:
        finished, decided = run
        facts = self._facts_of(finished)
        if decided.broken is not None:
            self._log.error(
                Event.HANDLER_BROKEN, **facts, error=error_line(decided.broken, self._mask)
            )
        if receipt is Receipt.CHANGED:
            self._tell_changed(run, facts)
        else:
            held_version = finished.execution.version
            self._log.warning(
                Event.COMPLETION_STALE, **facts, held_version=held_version, receipt=receipt.value
            )

    def tell_refused(self, execution: Held, error: InvalidData) -> None:
        """The database doesn't take what a completion would write."""
        self._log.error(Event.COMPLETION_REFUSED, **_names_of(execution), error=str(error))

    def _tell_changed(self, run: Run, facts: dict[str, Any]) -> None:
        facts |= _error_of(run.finished)
        match run.decided.completion:
            case MoveToFailed():
                self._log.error(Event.EXECUTION_EXHAUSTED, **facts, outcome=metrics.GIVEN_UP)
            case Crash(execution=execution):
                self._tell_crash(execution.crashes + 1, facts)
            case Release():
                if run.finished.started_at:
                    facts["outcome"] = metrics.INTERRUPTED
                self._log.info(Event.EXECUTION_RELEASED, **facts)
            case Reschedule(has_succeeded=False, when=when):
                facts |= {"outcome": metrics.FAILED, "retry": iso(self._clock.instant_of(when))}
                self._log.at(self._failures_level, Event.EXECUTION_FAILED, **facts)
            case _:
                self._log.info(Event.EXECUTION_COMPLETED, **facts, outcome=metrics.SUCCEEDED)

    def _tell_crash(self, crashes: int, facts: dict[str, Any]) -> None:
        facts["crashes"] = crashes
        if crashes >= self._max_crashes:
            self._log.error(Event.EXECUTION_BURIED, **facts, outcome=metrics.GIVEN_UP)
        else:
            self._log.warning(Event.EXECUTION_RECOVERED, **facts, outcome=metrics.FAILED)

    def _success(self, finished: Finished) -> dict[str, Any]:
        facts = self._facts_of(finished)
        facts["outcome"] = metrics.SUCCEEDED
        return facts

    def _facts_of(self, finished: Finished) -> dict[str, Any]:
        """What has never started has no time of its own to tell."""
        execution = finished.execution
        facts: dict[str, Any] = {
            "task": execution.task_name,
            "instance": execution.task_instance,
            "attempt": execution.consecutive_failures + 1,
        }
        if finished.span is not None:
            facts |= finished.span._asdict()
        if finished.started_at:
            due_at = (execution.execution_time - self._origin).total_seconds()
            facts["lateness_s"] = round(finished.started_at - due_at, 4)
            facts["duration_s"] = round(finished.duration_s, 4)
        return facts


def _split(runs: Iterable[Run]) -> tuple[list[Run], list[Run]]:
    """Those that are nothing but successes, and the others."""
    plain: list[Run] = []
    others: list[Run] = []
    for run in runs:
        is_plain = run.finished.outcome is SUCCEEDED and run.decided.broken is None
        (plain if is_plain else others).append(run)
    return plain, others


def _names_of(execution: Held) -> dict[str, Any]:
    return {"task": execution.task_name, "instance": execution.task_instance}


def _error_of(finished: Finished) -> dict[str, str]:
    """What the run told of its end; a traceback only where there is one."""
    match finished.outcome:
        case Failed(line=line, traceback=traceback):
            told = {"error": line}
            return {**told, "exception": traceback} if traceback else told
        case Committed(error=error) if error is not None:
            return {"error_after_commit": error_line(error)}
        case Crashed(cause=cause):
            return {"reason": f"its process died: {cause}"}
        case _:
            return {}
