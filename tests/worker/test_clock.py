"""The database's time as a worker knows it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pgsched.worker.clock import Clock, monotonic

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_an_answer_that_was_long_on_its_way_does_not_put_back_a_clock_that_agrees() -> None:
    clock = Clock()
    start = monotonic()
    clock.observe(NOW, start)
    asked_at = start - 600
    clock.observe(NOW - timedelta(seconds=600), asked_at)
    assert NOW - timedelta(seconds=60) < clock.at(start) <= NOW


@pytest.mark.parametrize("jump", [timedelta(hours=-3), timedelta(hours=3)])
def test_a_clock_that_the_database_contradicts_follows_it(jump: timedelta) -> None:
    clock = Clock()
    clock.observe(NOW, monotonic())
    asked_at = monotonic()
    clock.observe(NOW + jump, asked_at)
    assert NOW + jump - timedelta(seconds=60) < clock.at(asked_at) <= NOW + jump
    assert clock.now() >= NOW + jump
