"""Failure handlers: from a failure, what happens next. They return a decision, they never act.

Source of the vocabulary: db-scheduler's failure handlers; returning values instead of acting is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_DELAY = timedelta(days=366)
"""No retry waits longer, whatever the rate: beyond it the arithmetic of dates overflows sooner or later."""


class Failure(NamedTuple):
    """What a failure handler may know. `consecutive_failures` counts this one.

    `chance` is a random number in [0, 1) made for this failure: handlers draw none of their own.
    """

    error: BaseException
    consecutive_failures: int
    execution_time: datetime
    now: datetime
    chance: float = 0.5


class RetryIn(NamedTuple):
    """Run it again after this long, by the database's clock."""

    delay: timedelta


class RetryAt(NamedTuple):
    """Run it again at this instant (aware)."""

    at: datetime


class GiveUp(NamedTuple):
    """No more retries: a one-time execution becomes a failed one, a recurring task waits for its next time."""


FailureDecision: TypeAlias = RetryIn | RetryAt | GiveUp
FailureHandler: TypeAlias = "Callable[[Failure], FailureDecision]"


@dataclass(frozen=True, slots=True)
class ExponentialBackoff:
    """Retry after `initial_delay`, then `rate` times longer each time.

    `max_retries` None retries for ever; 5 means six runs in all. `jitter` is a fraction either way, so that
    executions which failed together do not come back together. No delay exceeds `max_delay` (or 366 days).
    Raises: ValueError for a negative delay or count, a rate below 1, a jitter outside 0..1.
    """

    initial_delay: timedelta
    max_retries: int | None = None
    rate: float = 2
    max_delay: timedelta | None = None
    jitter: float = 0.1

    def __post_init__(self) -> None:
        _check_delay("initial_delay", self.initial_delay)
        _check_retries(self.max_retries)
        if self.max_delay is not None:
            _check_delay("max_delay", self.max_delay)
        if not 1 <= self.rate < float("inf"):
            raise ValueError(f"rate must be a number from 1 up, not {self.rate!r}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be a fraction from 0 to 1, not {self.jitter!r}")

    def __call__(self, failure: Failure) -> FailureDecision:
        if _is_exhausted(self.max_retries, failure):
            return GiveUp()
        return RetryIn(self._delay(failure))

    def _delay(self, failure: Failure) -> timedelta:
        longest = min(self.max_delay or LONGEST_DELAY, LONGEST_DELAY)
        try:
            grown = self.initial_delay * self.rate ** (failure.consecutive_failures - 1)
        except OverflowError:
            return longest
        return min(min(grown, longest) * (1 + self.jitter * (2 * failure.chance - 1)), longest)


@dataclass(frozen=True, slots=True)
class FixedDelay:
    """Retry after the same `delay` each time; `max_retries` None retries for ever. Raises: ValueError."""

    delay: timedelta
    max_retries: int | None = None

    def __post_init__(self) -> None:
        _check_delay("delay", self.delay)
        _check_retries(self.max_retries)

    def __call__(self, failure: Failure) -> FailureDecision:
        return GiveUp() if _is_exhausted(self.max_retries, failure) else RetryIn(self.delay)


@dataclass(frozen=True, slots=True)
class MaxRetries:
    """Retry at once, `max_retries` times. Raises: ValueError."""

    max_retries: int

    def __post_init__(self) -> None:
        _check_retries(self.max_retries)

    def __call__(self, failure: Failure) -> FailureDecision:
        return GiveUp() if _is_exhausted(self.max_retries, failure) else RetryIn(timedelta(0))


def _is_exhausted(max_retries: int | None, failure: Failure) -> bool:
    return max_retries is not None and failure.consecutive_failures > max_retries


def _check_delay(name: str, delay: timedelta) -> None:
    if not isinstance(delay, timedelta):
        raise TypeError(f"{name} must be a timedelta, not {delay!r}")
    if not timedelta(0) <= delay <= LONGEST_DELAY:
        raise ValueError(f"{name} must be from 0 to 366 days, not {delay!r}")


def _check_retries(max_retries: int | None) -> None:
    if max_retries is None:
        return
    if not isinstance(max_retries, int) or isinstance(max_retries, bool):
        raise TypeError(f"max_retries must be a whole number or None, not {max_retries!r}")
    if max_retries < 0:
        raise ValueError(f"max_retries must be 0 or more, not {max_retries!r}")
