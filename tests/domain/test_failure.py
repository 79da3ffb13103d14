"""Failure handlers: from a failure, what happens next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched import (
    ExponentialBackoff,
    Failure,
    FailureHandler,
    FixedDelay,
    GiveUp,
    MaxRetries,
    RetryIn,
)
from pgsched.domain.failure import LONGEST_DELAY

NOW = datetime(2027, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)

delays = st.timedeltas(timedelta(0), LONGEST_DELAY)


def failure(number: int, chance: float = 0.5) -> Failure:
    return Failure(RuntimeError("no"), number, NOW, NOW, chance)


def runs(handler: FailureHandler) -> int:
    """How often a task that always fails is run in all."""
    return 1 + len(list(takewhile(lambda n: handler(failure(n)) != GiveUp(), range(1, 1000))))


@pytest.mark.parametrize(
    "handler",
    [ExponentialBackoff(SECOND, max_retries=5), FixedDelay(SECOND, max_retries=5), MaxRetries(5)],
)
def test_five_retries_mean_six_runs(handler: FailureHandler) -> None:
    assert runs(handler) == 6


@pytest.mark.parametrize("handler", [ExponentialBackoff(SECOND), FixedDelay(SECOND)])
def test_without_a_limit_retries_go_on_for_ever(handler: FailureHandler) -> None:
    assert runs(handler) == 1000


def test_exponential_backoff_doubles() -> None:
    handler = ExponentialBackoff(SECOND, jitter=0)
    assert [handler(failure(n)) for n in (1, 2, 3, 4)] == [RetryIn(SECOND * 2**n) for n in range(4)]


def test_jitter_is_a_fraction_either_way() -> None:
    handler = ExponentialBackoff(timedelta(seconds=100), jitter=0.1)
    assert handler(failure(1, chance=0.0)) == RetryIn(timedelta(seconds=90))
    assert handler(failure(1, chance=0.5)) == RetryIn(timedelta(seconds=100))


@given(
    initial=delays,
    rate=st.floats(1, 1e300),
    max_delay=st.none() | delays,
    jitter=st.floats(0, 1),
    number=st.integers(1, 10_000),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_no_backoff_overflows_or_exceeds_its_limit(
    initial: timedelta,
    rate: float,
    max_delay: timedelta | None,
    jitter: float,
    number: int,
    chance: float,
) -> None:
    handler = ExponentialBackoff(initial, rate=rate, max_delay=max_delay, jitter=jitter)
    decision = handler(failure(number, chance))
    assert isinstance(decision, RetryIn)
    assert timedelta(0) <= decision.delay <= (LONGEST_DELAY if max_delay is None else max_delay)


def test_fixed_delay_and_max_retries_are_what_they_say() -> None:
    assert FixedDelay(SECOND)(failure(7)) == RetryIn(SECOND)
    assert MaxRetries(3)(failure(1)) == RetryIn(timedelta(0))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: ExponentialBackoff(-SECOND), "initial_delay"),
        (lambda: ExponentialBackoff(5), "initial_delay"),  # type: ignore[arg-type]  # to be refused
        (lambda: ExponentialBackoff(SECOND, rate=0.5), "rate"),
        (lambda: ExponentialBackoff(SECOND, rate=float("inf")), "rate"),
        (lambda: ExponentialBackoff(SECOND, jitter=2), "jitter"),
        (lambda: ExponentialBackoff(SECOND, jitter=float("nan")), "jitter"),
        (lambda: ExponentialBackoff(SECOND, max_delay=-SECOND), "max_delay"),
        (lambda: FixedDelay(timedelta(days=1000)), "delay"),
        (lambda: FixedDelay(SECOND, max_retries=-1), "max_retries"),
        (lambda: MaxRetries(1.5), "max_retries"),  # type: ignore[arg-type]  # to be refused
        (lambda: MaxRetries(True), "max_retries"),
    ],
)
def test_impossible_arguments_are_refused_by_name(make: object, named: str) -> None:
    assert callable(make)
    with pytest.raises((TypeError, ValueError), match=named):
        make()
