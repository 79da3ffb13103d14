"""All that can happen to one execution, and that each guard is needed."""

from __future__ import annotations

import pytest

from tests.exhaustive.exploring import explore
from tests.exhaustive.life import Rules

VARIANTS = {
    "fence_asks_version": "one_valid_owner",
    "fence_asks_owner": "one_valid_owner",
    "identities_are_fresh": "the_living_are_not_called_dead",
    "sweep_has_grace": "the_living_are_not_called_dead",
    "strays_are_released": "it_ends",
    "stopped_are_not_beaten_for": "it_ends",
    "future_beats_are_dead": "it_ends",
    "release_waits_for_the_end": "overlaps_are_explained",
    "what_is_held_is_not_started_again": "one_valid_owner",
}


def test_nothing_goes_wrong_whatever_happens() -> None:
    explored = explore(Rules(), faults=3)
    assert explored.violation is None, explored.violation
    assert explored.states > 100_000


@pytest.mark.parametrize("guard", Rules._fields)
def test_without_a_guard_something_does(guard: str) -> None:
    """Two faults are enough to show for what each guard is there."""
    explored = explore(Rules(**{guard: False}), faults=2)
    assert explored.violation is not None
    assert explored.violation.invariant == VARIANTS[guard], explored.violation
