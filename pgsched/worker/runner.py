"""A process for one run of one execution: of a task with `isolation="process"`, or of one that may kill its process.

Forked by the supervisor, so that it starts without threads and without anybody's locks. It takes an errand from its
poller, answers with the run and ends. It holds no connection but what the task asks for, and never outlives the
supervisor, which ends it when its poller is gone.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import random
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pgsched.domain.completion import decide
from pgsched.domain.context import ExecutionContext
from pgsched.domain.outcome import Failed, Told, error_line
from pgsched.tracing import flush, run_tracing
from pgsched.worker.channel import HERE, framed, take
from pgsched.worker.fuse import light
from pgsched.worker.process import EXIT_OK, Signals, end_stray
from pgsched.worker.run import Run, run_here, runnables_of
from pgsched.worker.surroundings import in_touch_for_s, surroundings_of

if TYPE_CHECKING:
    import socket

    from pgsched.domain.execution import Held
    from pgsched.domain.mask import Mask
    from pgsched.worker.board import Board
    from pgsched.worker.clock import Clock
    from pgsched.worker.plan import Plan

PR_SET_PDEATHSIG = 1


class Errand(NamedTuple):
    """What to run, by which clock, and for whom."""

    execution: Held
    clock: Clock
    poller: str


def run_errand(plan: Plan, board: Board, channel: socket.socket, *, supervisor: int) -> int:
    """The main of a runner; `channel` is its end of it."""
    os.setpgid(0, 0)  # what it starts is ended with it
    _die_with(supervisor)
    # Its poller decides whether it is to end. Handlers, unlike SIG_IGN, aren't handed on to programs that it starts.
    Signals((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP))
    os.register_at_fork(after_in_child=channel.close)  # children must not speak for it
    try:
        channel.sendall(HERE)
        errand: Errand = pickle.loads(take(channel))  # noqa: S301 our own poller's
        channel.sendall(framed(pickle.dumps(_told(_run(plan, board, errand), plan.mask))))
        flush()
    except (EOFError, OSError):
        pass  # the poller is gone
    return EXIT_OK


def _run(plan: Plan, board: Board, errand: Errand) -> Run:
    execution = errand.execution
    name = execution.task_name
    if plan.tasks[name].on_out_of_touch == "stop":
        light(partial(in_touch_for_s, plan, board))
    tracing = run_tracing(errand.clock.now, plan.mask)
    runnable = runnables_of({name: plan.tasks[name]}, tracing)[name]
    context = ExecutionContext(
        execution, surroundings_of(plan, board, errand.clock, poller=errand.poller)
    )
    pid = os.getpid()
    finished = run_here(runnable, execution, context, plan.mask)
    end_stray(pid)
    decided = decide(finished, runnable.task, now=errand.clock.now, chance=random.random)
    return Run(finished, decided)


def _told(run: Run, mask: Mask) -> Run:
    """The run with its errors in words: an exception of the user's may not survive the way to another process.

    All else in it is of plain classes (`domain/request.py`, `domain/completion.py`).
    """
    finished, decided = run
    if isinstance(finished.outcome, Failed):
        outcome = finished.outcome._replace(error=Told(finished.outcome.line))
        finished = finished._replace(outcome=outcome)
    if decided.broken is not None:
        decided = decided._replace(broken=Told(error_line(decided.broken, mask)))
    return run._replace(finished=finished, decided=decided)


def _die_with(supervisor: int) -> None:
    """Nobody is left to end it when the supervisor is killed. Only Linux has a way to ask the kernel for that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:
            os.kill(os.getpid(), signal.SIGKILL)
