"""The one place where tests wait: for a condition, never for a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None],
    *,
    timeout: float = 15.0,
    describe: str | Callable[[], str] = "the condition",
) -> T:
    """The first truthy value of `condition`. Raises: AssertionError after `timeout` seconds.

    What `describe` tells of how things are is asked for only then, where it is callable.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            told = describe if isinstance(describe, str) else describe()
            raise AssertionError(f"waited {timeout} s in vain for {told}")
        time.sleep(0.02)
    return value
