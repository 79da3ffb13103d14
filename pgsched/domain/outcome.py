"""How a run ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from pgsched.domain.execution import Held, NewExecution


class Succeeded(NamedTuple):
    """The task returned."""


SUCCEEDED = Succeeded()


class Failed(NamedTuple):
    """The task raised, or its data did not fit. `traceback` is bounded text."""

    error: BaseException
    traceback: str


class Interrupted(NamedTuple):
    """The worker stopped it: it did not fail, and no retry is used."""


Outcome: TypeAlias = Succeeded | Failed | Interrupted


class Finished(NamedTuple):
    """One run, ended: what was run, how it ended, when it had started (monotonic), and the executions it asked for."""

    execution: Held
    outcome: Outcome
    started_at: float
    duration_s: float
    followups: tuple[NewExecution, ...] = ()
