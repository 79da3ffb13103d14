"""Waits on descriptors, whatever the descriptors and the times are."""

from __future__ import annotations

import math
import os
import resource
import select
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from pgsched.worker.wakeup import Bell, readable, stirred

if TYPE_CHECKING:
    from collections.abc import Callable

WAITS: list[Callable[[list[int], float], set[int]]] = [
    readable,
    lambda ends, wait_s: stirred(dict.fromkeys(ends, select.POLLIN), wait_s),
]


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("wait_s", [-0.01, -math.inf])
def test_an_instant_that_is_over_is_not_waited_for(
    wait: Callable[[list[int], float], set[int]], wait_s: float
) -> None:
    """Without the lower bound `poll` waits for ever, here until the bell rings."""
    bell = Bell()
    ringing = threading.Timer(1.0, bell.ring)
    ringing.start()
    assert wait([bell.fileno()], wait_s) == set()
    ringing.cancel()


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1100, reason="there can be no such descriptors"
)
def test_descriptors_past_those_that_select_knows_are_waited_for() -> None:
    bell = Bell()
    bell.ring()
    with ExitStack() as stack:
        high = bell.fileno()
        while high < 1024:
            high = os.dup(bell.fileno())
            stack.callback(os.close, high)
        assert readable([high], math.inf) == {high}
