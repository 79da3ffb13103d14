"""Whether the promises were kept: pure functions over a history, each of which answers what is wrong, in words."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

from chaos.plan import Kind

if TYPE_CHECKING:
    from chaos.history import Fault, History, Run

KILLS = frozenset({Kind.KILL_POLLER, Kind.KILL_SUPERVISOR, Kind.KILL_GROUP})
SILENCING = frozenset({Kind.STOP_POLLER, Kind.STOP_HOUSEKEEPER, Kind.CUT, Kind.SWALLOW, Kind.DELAY})
"""Faults of one worker that keep its beats from the database: lasting longer than the timeout they make it look dead.
One of the server is not among them: then nobody could beat, and nobody may be called dead.
"""

SHARE = 0.6
"""Of the heartbeat timeout: so long a silence may be the last straw, as the last beat was some time before it."""

LOSING = frozenset({
    Kind.TERMINATE,
    Kind.CUT,
    Kind.SWALLOW,
    Kind.SERVER_FAST,
    Kind.SERVER_IMMEDIATE,
    Kind.SERVER_KILL,
})
"""After these a completion may be written twice, and refused the second time: the first answer was lost."""

POISON_S = 0.3
"""So long after its start the poison kills the process that it runs in."""

WRITTEN_S = 5.0
"""So long after the end of a run its completion may be on its way."""


def lost(history: History) -> list[str]:
    """What was surely scheduled has run to its end, or is accounted for."""
    done = {(run.task, run.instance) for run in history.runs if run.result == "end"}
    missing = history.sure - done - history.failed - history.left
    return [f"lost: {task} {instance}" for task, instance in sorted(missing)]


def stuck(history: History) -> list[str]:
    """When all is quiet nothing is left but the recurring task, and only the poison has failed."""
    left = [f"still there: {task} {instance}" for task, instance in sorted(history.left)]
    failed = {each for each in history.failed if each[0] != "poison"}
    return left + [f"failed: {task} {instance}" for task, instance in sorted(failed)]


def token_reuse(history: History) -> list[str]:
    """Every run has a token of its own, and later runs have greater ones."""
    wrong = []
    for runs in _by_execution(history).values():
        for earlier, later in pairwise(runs):
            if later.token <= earlier.token:
                wrong.append(
                    f"token {later.token} after {earlier.token}: {later.task} {later.instance}"
                )
    return wrong


def overlaps(history: History) -> list[str]:
    """Two runs of one execution overlap only where the first's worker was silent for as long as the timeout."""
    return [
        f"overlap: {later.task} {later.instance}, token {later.token} in {later.worker} at {later.start:.3f},"
        f" while token {earlier.token} ran in {earlier.worker} until {end_of(earlier, history):.3f}"
        for runs in _by_execution(history).values()
        for earlier, later in combinations(runs, 2)
        if later.start < end_of(earlier, history) and not _was_silent(earlier, later, history)
    ]


def refused(history: History) -> list[str]:
    """Only who was superseded is refused, or who asks again because the first answer was lost."""
    newest = {(run.task, run.instance): run for run in history.runs}
    return [
        f"the rightful run was refused: {stale.task} {stale.instance}, token {stale.token}"
        for stale in history.stale
        if (run := newest.get((stale.task, stale.instance)))
        and stale.token >= run.token
        and not _may_have_lost_an_answer(run, history)
    ]


def doubled_effects(history: History) -> list[str]:
    """What is done in the transaction of its completion is done once, whatever happens."""
    return [
        f"{count} effects: exact {instance}"
        for instance, count in sorted(history.effects.items())
        if count != 1
    ] + [
        f"no effect: exact {instance}"
        for task, instance in sorted(history.sure - history.left)
        if task == "exact" and instance not in history.effects
    ]


CHECKS = (lost, stuck, token_reuse, overlaps, refused, doubled_effects)


def violations(history: History) -> list[str]:
    return [each for check in CHECKS for each in check(history)]


# What is measured


def repeats(history: History) -> int:
    """Executions that ran to their end more than once: at least once is what is promised for those."""
    ended: dict[tuple[str, str], int] = defaultdict(int)
    for run in history.runs:
        if run.result == "end" and run.task not in {"tick", "exact"}:
            ended[run.task, run.instance] += 1
    return sum(count > 1 for count in ended.values())


def longest_recovery(history: History) -> float:
    """Of what a killed poller ran: seconds until it ran again."""
    longest = 0.0
    for fault in history.faults:
        if fault.kind is not Kind.KILL_POLLER:
            continue
        for runs in _by_execution(history).values():
            for earlier, later in pairwise(runs):
                is_hit = earlier.pid == fault.pid and earlier.end is None
                if is_hit and not _is_hampered(fault.began, later.start, history):
                    longest = max(longest, later.start - fault.began)
    return longest


def longest_healing(history: History) -> float:
    """Of the server's outages: seconds from its end until a run ended."""
    longest = 0.0
    for fault in history.faults:
        if fault.worker is None and fault.ended > fault.began:
            after = [run.end for run in history.runs if run.end and run.start > fault.ended]
            if after:
                longest = max(longest, min(after) - fault.ended)
    return longest


def longest_tick_gap(history: History) -> float:
    """Between two runs of the recurring task, whatever was going on."""
    ticks = [run.start for run in history.runs if run.task == "tick"]
    return max((later - earlier for earlier, later in pairwise(ticks)), default=0.0)


# How it is judged


def end_of(run: Run, history: History) -> float:
    """When a run was surely over: it said so, or it was killed."""
    if run.end is not None:
        return run.end
    kills = [
        fault.ended
        for fault in history.faults
        if fault.kind in KILLS and fault.worker == run.worker and fault.ended >= run.start
    ]
    kills += [
        poison.start + POISON_S
        for poison in history.runs
        if poison.task == "poison"
        and poison.pid == run.pid
        and poison.start + POISON_S >= run.start
    ]
    return min(kills, default=run.start)


def _was_silent(earlier: Run, later: Run, history: History) -> bool:
    return any(
        fault.kind in SILENCING
        and fault.worker == earlier.worker
        and fault.ended - fault.began >= SHARE * history.heartbeat_timeout_s
        and fault.began <= later.start
        and fault.ended >= earlier.start
        for fault in history.faults
    )


def _may_have_lost_an_answer(run: Run, history: History) -> bool:
    until = end_of(run, history) + WRITTEN_S
    return any(
        fault.kind in LOSING
        and fault.worker in {None, run.worker}
        and fault.began <= until
        and fault.ended >= run.start
        for fault in history.faults
    )


def _is_hampered(since: float, until: float, history: History) -> bool:
    """Whether another fault came in between: then it isn't this one's recovery that is measured."""
    return any(
        fault.began != since and fault.began < until and fault.ended > since
        for fault in history.faults
    )


def _by_execution(history: History) -> dict[tuple[str, str], list[Run]]:
    found: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in history.runs:
        found[run.task, run.instance].append(run)
    return found


def describe(fault: Fault, since: float) -> str:
    whom = fault.worker or "the server"
    return f"{fault.began - since:7.2f} s  {fault.kind.value}: {whom}, {fault.ended - fault.began:.1f} s"
