"""Tells which of a worker's lasting processes stand still, by the turns that their boards show. Ends nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgsched.worker.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsched.worker.child import Child
    from pgsched.worker.plan import Plan

STALL_CHECK_S = 5.0

LONGEST_CALL_S = 25.0
"""What housekeeper and reporter may take for one call: as long as its guard lets it, and to connect."""


class Stalls:
    """To be asked again and again."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._asked_at = monotonic()

    @property
    def ask_in_s(self) -> float:
        """Seconds until the next time, at most."""
        return STALL_CHECK_S

    def found(self, others: Sequence[Child], pollers: Sequence[Child]) -> list[Child]:
        """Those that stand still, each told once. `others` run no user code."""
        poller_s = self._plan.stall_timeout.total_seconds()
        patience_s = [
            *((each, self._others_s) for each in others),
            *((each, poller_s) for each in pollers),
        ]
        is_excused = self._has_stood_still()
        stalled = (
            [] if is_excused else [who for who, long_s in patience_s if who.has_stalled(long_s)]
        )
        for child in (*others, *pollers) if is_excused else stalled:
            child.note_turn()
        return stalled

    def _has_stood_still(self) -> bool:
        """All of us may have been stopped (a paused container): then the others need a moment, as we did."""
        last, self._asked_at = self._asked_at, monotonic()
        return self._asked_at - last >= 2 * STALL_CHECK_S

    @property
    def _others_s(self) -> float:
        """Before others may call this worker dead, but longer than one call to the database may take."""
        quarter = self._plan.heartbeat_timeout / 4
        return max(LONGEST_CALL_S, min(self._plan.stall_timeout, quarter).total_seconds())
