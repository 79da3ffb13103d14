"""All that can happen to one execution, and that each guard is needed."""

from __future__ import annotations

import pytest

from tests.exhaustive.exploring import explore
from tests.exhaustive.life import Rules

VARIANTS = {
    "fence_asks_version": "one_valid_owner",
    "fence_asks_owner": "one_valid_owner",
    "identities_are_fresh": "one_valid_owner",
    "sweep_has_grace": "overlaps",
    "recovery_bumps_version": "one_valid_owner",
    "strays_are_released": "it_ends",
    "stopped_are_not_beaten_for": "it_ends",
    "future_beats_are_dead": "it_ends",
    "release_waits_for_the_end": "overlaps_are_explained",
    "what_is_held_is_not_started_again": "one_valid_owner",
}


def test_nothing_goes_wrong_whatever_happens() -> None:
    explored = explore(Rules())
    assert explored.violation is None, "\n".join(explored.violation.trace)
    assert explored.states > 10_000


@pytest.mark.parametrize("guard", Rules._fields)
def test_without_a_guard_something_does(guard: str) -> None:
    explored = explore(Rules(**{guard: False}))
    assert explored.violation is not None
    assert explored.violation.invariant == VARIANTS[guard], "\n".join(explored.violation.trace)
