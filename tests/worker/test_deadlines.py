"""Runs that last too long are told once, and only while they last."""

from __future__ import annotations

from datetime import UTC, datetime

from pgsched.domain.execution import Held
from pgsched.worker.deadlines import Deadlines

HELD = Held("task", "instance", None, datetime(2026, 1, 1, tzinfo=UTC), 1, None, 0, 0, None, None)
OTHER = HELD._replace(task_instance="other")


def test_what_lasts_too_long_is_told_once_and_stays_over() -> None:
    deadlines = Deadlines()
    deadlines.begin(HELD, 0.0)
    deadlines.begin(OTHER, 60.0)
    assert deadlines.newly_over() == [HELD]
    assert deadlines.newly_over() == []
    assert deadlines.over == [HELD]
    assert 50 < deadlines.next_in_s <= 60


def test_a_run_that_ends_while_it_is_told_is_not_over_any_more() -> None:
    """To be told was written where it runs: one that ended meanwhile stayed there as a ghost, which took the place of
    a run that was still going on, and was killed.
    """
    deadlines = Deadlines()

    class Ending(Held):
        """Ends in the moment in which it is looked at."""

        @property
        def key(self) -> tuple[str, str, int]:
            deadlines._running.clear()
            return super().key

    deadlines._running[HELD.key] = (Ending(*HELD), 0.0)
    deadlines.newly_over()
    assert deadlines.over == []
