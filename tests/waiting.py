"""The one place where tests wait: for a condition, never for a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None], *, timeout: float = 15.0, describe: str = "the condition"
) -> T:
    """The first truthy value of `condition`. Raises: AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s in vain for {describe}")
        time.sleep(0.02)
    return value
