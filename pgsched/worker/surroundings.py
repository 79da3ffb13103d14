"""What a worker lends to the contexts of its runs, in a poller and in a runner alike."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from pgsched.domain.completion import decide
from pgsched.domain.context import Surroundings
from pgsched.domain.outcome import SUCCEEDED, Finished
from pgsched.log import bound_logger
from pgsched.store.completing import Writer
from pgsched.store.transaction import Completing, CompletingTransaction
from pgsched.tracing import current_trace_context
from pgsched.worker.board import Moment
from pgsched.worker.clock import monotonic

if TYPE_CHECKING:
    from pgsched.domain.completion import Completion
    from pgsched.domain.context import ExecutionContext
    from pgsched.worker.board import Board
    from pgsched.worker.clock import Clock
    from pgsched.worker.plan import Plan


def surroundings_of(plan: Plan, board: Board, clock: Clock, *, poller: str) -> Surroundings:
    writer = Writer(poller, plan.polling_interval, plan.max_crashes)

    def transaction(context: ExecutionContext, connection: object) -> CompletingTransaction:
        def completion() -> Completion:
            execution = context.execution
            finished = Finished(execution, SUCCEEDED, 0.0, 0.0, tuple(context.followups))
            task = plan.tasks[execution.task_name]
            return decide(finished, task, now=clock.now, chance=random.random).completion

        def note_commit() -> None:
            context.is_complete = True

        completing = Completing(plan.database, writer, completion, note_commit)
        return CompletingTransaction(completing, connection)

    def is_shutting_down() -> bool:
        return board.last(Moment.STOPPING) > -math.inf

    def is_out_of_touch() -> bool:
        return in_touch_for_s(plan, board) <= 0

    return Surroundings(
        now=clock.now,
        is_shutting_down=is_shutting_down,
        is_out_of_touch=is_out_of_touch,
        log=bound_logger,
        trace_context=current_trace_context,
        transaction=transaction,
    )


def in_touch_for_s(plan: Plan, board: Board) -> float:
    """Seconds until a poller counts as out of touch, if no beat comes: half-way between the time when the next one
    should have come and the time from which others may take its executions.
    """
    allowed = (plan.heartbeat_interval + plan.heartbeat_timeout) / 2
    return board.last(Moment.IN_TOUCH) + allowed.total_seconds() - monotonic()
