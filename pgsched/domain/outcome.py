"""How a run ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from pgsched.domain.mask import NO_MASK
from pgsched.domain.text import storable

if TYPE_CHECKING:
    from pgsched.domain.execution import Held, NewExecution
    from pgsched.domain.mask import Mask


ERROR_LIMIT = 2_000
"""Characters kept of an error's message; its traceback has a limit of its own."""


def error_line(error: BaseException, mask: Mask = NO_MASK) -> str:
    """An error in one bounded line: its type and message, without what the mask hides."""
    if isinstance(error, Told):
        return str(error)
    try:
        # Its beginning alone: to take 100 MB apart word by word takes gigabytes.
        message = " ".join(mask.beginning(str(error), 2 * ERROR_LIMIT).split())
    except BaseException:  # noqa: BLE001 the user's __str__
        message = "(its message can't be shown)"
    name = type(error).__qualname__
    return storable(f"{name}: {message}" if message else name)[:ERROR_LIMIT]


class Succeeded(NamedTuple):
    """The task returned."""


SUCCEEDED = Succeeded()


class Failed(NamedTuple):
    """The task raised, or its data did not fit. `traceback` and `line` are bounded texts, without secrets."""

    error: BaseException
    traceback: str
    line: str


class Told(Exception):
    """An error that happened in another process, as that told it."""


class Committed(NamedTuple):
    """The run has completed its execution itself, in a transaction. What it raised after that changes nothing."""

    error: BaseException | None = None


class Crashed(NamedTuple):
    """The process that ran it alone died, of a signal or with an exit status."""

    cause: str


class Interrupted(NamedTuple):
    """The worker stopped it: it did not fail, and no retry is used."""


Outcome: TypeAlias = Succeeded | Failed | Committed | Crashed | Interrupted


class SpanIds(NamedTuple):
    """Where a run is to be found among the traces, in hexadecimal as everybody writes them."""

    trace_id: str
    span_id: str


class Finished(NamedTuple):
    """One run, ended: what was run, how it ended, when it had started (monotonic), and the executions it asked for.

    `span` is None where nobody traces.
    """

    execution: Held
    outcome: Outcome
    started_at: float
    duration_s: float
    followups: tuple[NewExecution, ...] = ()
    span: SpanIds | None = None
