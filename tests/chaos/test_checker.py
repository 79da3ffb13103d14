"""The checker notices each broken promise, and lets pass what a fault explains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaos.checker import (
    doubled,
    doubled_effects,
    drifted,
    early,
    late,
    lost,
    overlaps,
    refused,
    stopped,
    stuck,
    token_reuse,
    violations,
)
from chaos.history import Fault, History, Run, Stale, runs_of
from chaos.plan import Kind, plan

if TYPE_CHECKING:
    from collections.abc import Callable

ID = ("slow", "a")


EPOCH = 1_000_000.0


def run(token: int, start: float, end: float | None, *, worker: str = "w0.1", pid: int = 1) -> Run:
    result = None if end is None else "end"
    return Run(*ID, token, pid, worker, start, start, end, result)


def recurring(task: str, due: float, late_s: float = 0.1, *, worker: str = "w0.1") -> Run:
    start = due + late_s
    return Run(task, "recurring", int(start * 100), 1, worker, due, start, start, "end")


def seconds(*dues: float, late_s: float = 0.1) -> list[Run]:
    return [recurring("second", due, late_s) for due in dues]


def late_ones(number: int, late_s: float) -> list[Run]:
    return [Run("slow", f"{n}", 2, 1, "w0.1", 0, late_s, late_s, "end") for n in range(number)]


def fault(kind: Kind, began: float, ended: float, *, worker: str | None = "w0.1") -> Fault:
    return Fault(kind, worker, 1, began, ended)


def history(
    *runs: Run,
    faults: tuple[Fault, ...] = (),
    stale: tuple[Stale, ...] = (),
    sure: frozenset[tuple[str, str]] = frozenset({ID}),
    left: frozenset[tuple[str, str]] = frozenset(),
    failed: frozenset[tuple[str, str]] = frozenset(),
    effects: dict[str, int] | None = None,
    until: float = 2.0,
) -> History:
    return History(
        list(runs),
        list(faults),
        list(stale),
        set(sure),
        set(left),
        set(failed),
        effects or {},
        heartbeat_timeout_s=3.0,
        epoch=EPOCH,
        since=0.0,
        until=until,
    )


def recurrences(*runs: Run, faults: tuple[Fault, ...] = (), until: float) -> History:
    """Of what recurs alone: `tick`, beside those, goes on without a pause."""
    ticks = [recurring("tick", at / 2) for at in range(int(until * 2))]
    everything = sorted((*runs, *ticks), key=lambda run: run.start)
    return history(*everything, faults=faults, sure=frozenset(), until=until)


GOOD = {
    "once": history(run(2, 0, 1)),
    "again after its process was killed": history(
        run(2, 0, None), run(4, 1.1, 2), faults=(fault(Kind.KILL_POLLER, 1, 1),)
    ),
    "again, beside a process that stood still": history(
        run(2, 0, 6),
        run(4, 4, 5, worker="w1.1"),
        faults=(fault(Kind.STOP_POLLER, 0.5, 5.5),),
        stale=(Stale("w0.1", *ID, 2),),
    ),
    "refused, as the answer to the first try was lost": history(
        run(2, 0, 1),
        faults=(fault(Kind.SERVER_KILL, 1, 2, worker=None),),
        stale=(Stale("w0.1", *ID, 2),),
    ),
    "again after its process was killed by a neighbour": history(
        run(2, 0, None),
        Run("poison", "p", 2, 1, "w0.1", 0.5, 0.5, None, None),
        run(4, 1.1, 2),
        failed=frozenset({("poison", "p")}),
    ),
    "again after its process was killed before its end was written": history(
        run(2, 0, 1), run(4, 1.1, 2), faults=(fault(Kind.KILL_POLLER, 1.05, 1.05),)
    ),
    "what recurs recurs": recurrences(*seconds(1, 2, 3, 4, 5, 6, 7, 8), until=9),
    "what recurs pauses while the server is away, and what it held is recovered": recurrences(
        *seconds(1, 2, 16, 17),
        faults=(fault(Kind.SERVER_KILL, 2.5, 7, worker=None),),
        until=18,
    ),
    "the same second again, as its worker was killed before its end was written": recurrences(
        recurring("second", 1),
        recurring("second", 1, 0.5, worker="w1.1"),
        faults=(fault(Kind.KILL_GROUP, 1.15, 1.15),),
        until=3,
    ),
    "due on the whole second, and late after a fault": recurrences(
        *seconds(1),
        *seconds(2, late_s=3.4),
        *seconds(6),
        faults=(fault(Kind.CUT, 1.5, 2.5),),
        until=7,
    ),
    "late while there is a fault": history(
        *late_ones(3, 20.0), faults=(fault(Kind.STOP_POLLER, 0, 4),), sure=frozenset()
    ),
    "the poison has failed": history(
        sure=frozenset({("poison", "p")}), failed=frozenset({("poison", "p")})
    ),
}

BAD: dict[str, tuple[Callable[[History], list[str]], History]] = {
    "never ran": (lost, history()),
    "ran, and never to its end": (lost, history(run(2, 0, None))),
    "is still there": (stuck, history(left=frozenset({ID}))),
    "failed without a reason": (stuck, history(failed=frozenset({ID}))),
    "one token, two runs": (token_reuse, history(run(2, 0, 1), run(2, 2, 3, pid=2))),
    "a smaller token later": (token_reuse, history(run(4, 0, 1), run(2, 2, 3))),
    "two at a time": (overlaps, history(run(2, 0, 2), run(4, 1, 3, worker="w1.1"))),
    "two at a time, after too short a silence": (
        overlaps,
        history(run(2, 0, 3), run(4, 2, 4), faults=(fault(Kind.STOP_POLLER, 1, 1.5),)),
    ),
    "two at a time, after an outage of the server": (
        overlaps,
        history(run(2, 0, 9), run(4, 8, 10), faults=(fault(Kind.SERVER_FAST, 1, 7, worker=None),)),
    ),
    "two at a time, while somebody else stood still": (
        overlaps,
        history(
            run(2, 0, 9),
            run(4, 6, 10),
            faults=(fault(Kind.STOP_POLLER, 1, 7, worker="w2.1"),),
        ),
    ),
    "again though it had ended, after an outage of the server": (
        doubled,
        history(run(2, 0, 2), run(4, 8, 10), faults=(fault(Kind.SERVER_FAST, 1, 7, worker=None),)),
    ),
    "the newest run was refused": (
        refused,
        history(run(2, 0, 6), run(4, 4, 5), stale=(Stale("w0.1", *ID, 4),)),
    ),
    "the same second twice": (
        doubled,
        recurrences(recurring("second", 1), recurring("second", 1, 0.5, worker="w1.1"), until=3),
    ),
    "before its time": (early, history(Run(*ID, 2, 1, "w0.1", 5.0, 4.0, 4.1, "end"))),
    "what recurs never ran": (stopped, recurrences(until=9)),
    "what recurs has stopped": (stopped, recurrences(*seconds(1, 2, 3), until=9)),
    "what recurs paused for nothing": (stopped, recurrences(*seconds(1, 2, 8, 9), until=9)),
    "what recurs paused for longer than a fault and its recovery": (
        stopped,
        recurrences(
            *seconds(1, 2, 22),
            faults=(fault(Kind.KILL_POLLER, 2.5, 2.5),),
            until=22,
        ),
    ),
    "what recurs paused as the clock of a worker jumped": (
        stopped,
        recurrences(*seconds(1, 2, 8), faults=(fault(Kind.CLOCK, 2.5, 2.5),), until=9),
    ),
    "what recurs paused for ever so long, for faults without end": (
        stopped,
        recurrences(
            *seconds(1, 50),
            faults=tuple(fault(Kind.KILL_POLLER, at, at) for at in range(1, 50)),
            until=50,
        ),
    ),
    "seconds that are none": (drifted, recurrences(*seconds(1, 2.1, 3.2), until=4)),
    "one is late for nothing": (late, history(*late_ones(1, 20.0))),
    "most are late for nothing": (late, history(*late_ones(3, 2.0))),
    "late long after a fault": (
        late,
        history(*late_ones(3, 20.0), faults=(fault(Kind.CUT, -9, -5),)),
    ),
    "an effect twice": (doubled_effects, history(effects={"a": 2})),
    "no effect": (doubled_effects, history(sure=frozenset({("exact", "a")}))),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_a_fault_explains_is_no_violation(name: str) -> None:
    assert violations(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_a_broken_promise_is_noticed(name: str) -> None:
    check, broken = BAD[name]
    assert check(broken)
    assert set(check(broken)) <= set(violations(broken))


def test_one_that_is_started_after_its_successor_is_rightly_refused() -> None:
    """Who is rightful is told by the token, not by who started last."""
    late_starter = history(
        run(4, 0, 1, worker="w1.1"), run(2, 2, 3), stale=(Stale("w0.1", *ID, 2),)
    )
    assert refused(late_starter) == []
    assert token_reuse(late_starter)


def test_a_log_is_read_as_runs() -> None:
    lines = [
        f"1.5 7 w0.1 start slow a 2 {EPOCH + 1}",
        f"2.5 8 w1.1 start slow a 4 {EPOCH + 2}",
        f"3.5 7 w0.1 failed slow a 2 {EPOCH + 1}",
    ]
    assert runs_of(lines, EPOCH) == [
        Run("slow", "a", 2, 7, "w0.1", 1.0, 1.5, 3.5, "failed"),
        Run("slow", "a", 4, 8, "w1.1", 2.0, 2.5, None, None),
    ]


def test_a_seed_is_a_plan() -> None:
    assert plan(7, 60, workers=3) == plan(7, 60, workers=3) != plan(8, 60, workers=3)
    assert {step.kind for step in plan(7, 2000, workers=3)} == set(Kind)
