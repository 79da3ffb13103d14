"""Is this worker alive, and is it ready for work? Each question as named checks, from shared memory and the last probe.

Never waits for anybody: a probe (`probing.py`) may hang, and then its age is the answer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from pgsched.worker.board import Moment
from pgsched.worker.clock import monotonic
from pgsched.worker.stalls import STALL_CHECK_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsched.worker.board import Board
    from pgsched.worker.probing import Probe

SUPERVISOR_S = 30.0
"""Its loop makes a turn every few seconds, and never waits for long."""

REPLACING_S = 2 * STALL_CHECK_S
"""A supervisor replaces a poller that stands still by itself, this soon: only then is it its fault, too."""

PROGRESS_S = 15.0
"""A poller's loop makes a turn every 5 seconds, and waits for the database no longer than its guard lets it."""

OLD_PROBE_S = 15.0
"""Longer than the longest probe: the database, or the reporter, hangs."""


class Check(NamedTuple):
    """One of the things that must be so."""

    name: str
    is_ok: bool
    detail: str


def liveness(supervisor: Board, pollers: Sequence[Board], stall_timeout_s: float) -> list[Check]:
    """Whether somebody should start this worker anew. Not for what it is doing, nor for its database."""
    now = monotonic()
    turned_s = supervisor.stalled_s(now)
    still_s = max(board.stalled_s(now) for board in pollers)
    return [
        Check("supervisor", turned_s < SUPERVISOR_S, f"moved {turned_s:.1f} s ago"),
        Check(
            "pollers",
            still_s < stall_timeout_s + REPLACING_S,
            f"the slowest moved {still_s:.1f} s ago",
        ),
    ]


def readiness(supervisor: Board, pollers: Sequence[Board], probe: Probe) -> list[Check]:
    """Whether it takes on work."""
    is_leaving = is_draining(supervisor)
    return [
        *_database(probe),
        _pollers(pollers),
        Check("draining", not is_leaving, "told to stop" if is_leaving else "no"),
    ]


def is_draining(supervisor: Board) -> bool:
    """Whether the worker has been told to stop."""
    return supervisor.last(Moment.STOPPING) > -math.inf


def _database(probe: Probe) -> list[Check]:
    age_s = monotonic() - probe.at
    if age_s > OLD_PROBE_S:
        silent = f"no answer for {age_s:.0f} s"
        return [Check("database", False, silent), Check("schema", False, "not known")]
    aged = f" ({age_s:.1f} s ago)"
    return [
        Check("database", probe.is_up, probe.database + aged),
        Check("schema", probe.is_schema_right, probe.schema + aged),
    ]


def _pollers(pollers: Sequence[Board]) -> Check:
    now = monotonic()
    connected = [board for board in pollers if board.is_ready]
    moving = [board for board in connected if board.stalled_s(now) < PROGRESS_S]
    picking = [board for board in moving if board.is_picking]
    told = f"{len(connected)} of {len(pollers)} connected, {len(moving)} of these moving, {len(picking)} picking"
    # One that makes room for the next ends what it runs first: the others take on work meanwhile, if there are any.
    return Check("pollers", len(moving) == len(pollers) and bool(picking), told)
