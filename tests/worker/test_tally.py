"""What is counted in one process is read in another, sums and buckets as Prometheus has them."""

from __future__ import annotations

import os

from pgsched.worker.metrics import DURATION, EXECUTIONS, SECONDS, STALE, SUCCEEDED, Series
from pgsched.worker.tally import of_poller


def test_another_process_reads_what_one_has_counted() -> None:
    tally = of_poller(["a", "b"])
    pid = os.fork()
    if not pid:
        tally.add(3, EXECUTIONS, "b", SUCCEEDED)
        tally.observe([9999.0, 0.001, 0.0011, 0.25, -0.1], DURATION, "b")
        os._exit(0)
    os.waitpid(pid, 0)
    tally.add(1, EXECUTIONS, "b", SUCCEEDED)
    counted = dict(tally)
    assert counted[Series(EXECUTIONS, ("b", SUCCEEDED))] == [4]
    assert counted[Series(EXECUTIONS, ("a", SUCCEEDED))] == [0]
    total, *buckets = counted[Series(DURATION, ("b",))]
    assert total == sum([9999.0, 0.001, 0.0011, 0.25, -0.1])
    filled = {bound: count for bound, count in zip(SECONDS, buckets, strict=False) if count}
    assert filled == {0.001: 2, 0.0025: 1, 0.25: 1}
    assert buckets[-1] == 1


def test_a_sum_never_falls() -> None:
    """Something that seems to have started before its time, by a clock that was corrected since."""
    tally = of_poller(["a"])
    tally.observe([0.5], DURATION, "a")
    tally.observe([-3.0], DURATION, "a")
    assert dict(tally)[Series(DURATION, ("a",))][0] == 0.5


def test_what_has_no_place_stops_nobody() -> None:
    tally = of_poller(["a"])
    tally.add(1, STALE, "new")
    tally.observe([1.0], DURATION, "new")
    assert not any(any(numbers) for _, numbers in tally)
