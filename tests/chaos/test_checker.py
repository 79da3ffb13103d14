"""The checker notices each broken promise, and lets pass what a fault explains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaos.checker import (
    doubled,
    doubled_effects,
    lost,
    overlaps,
    refused,
    stuck,
    token_reuse,
    violations,
)
from chaos.history import Fault, History, Run, Stale, runs_of
from chaos.plan import Kind, plan

if TYPE_CHECKING:
    from collections.abc import Callable

ID = ("slow", "a")


def run(token: int, start: float, end: float | None, *, worker: str = "w0.1", pid: int = 1) -> Run:
    result = None if end is None else "end"
    return Run(*ID, token, pid, worker, start, end, result)


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
) -> History:
    return History(
        list(runs), list(faults), list(stale), set(sure), set(left), set(failed), effects or {}, 3.0
    )


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
        Run("poison", "p", 2, 1, "w0.1", 0.5, None, None),
        run(4, 1.1, 2),
        failed=frozenset({("poison", "p")}),
    ),
    "again after its process was killed before its end was written": history(
        run(2, 0, 1), run(4, 1.1, 2), faults=(fault(Kind.KILL_POLLER, 1.05, 1.05),)
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


def test_a_log_is_read_as_runs() -> None:
    lines = [
        "1.5 7 w0.1 start slow a 2",
        "2.5 8 w1.1 start slow a 4",
        "3.5 7 w0.1 failed slow a 2",
    ]
    assert runs_of(lines) == [
        Run("slow", "a", 2, 7, "w0.1", 1.5, 3.5, "failed"),
        Run("slow", "a", 4, 8, "w1.1", 2.5, None, None),
    ]


def test_a_seed_is_a_plan() -> None:
    assert plan(7, 60, workers=3) == plan(7, 60, workers=3) != plan(8, 60, workers=3)
    assert {step.kind for step in plan(7, 2000, workers=3)} == set(Kind)
