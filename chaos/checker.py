"""Whether the promises were kept: pure functions over a history, each of which answers what is wrong, in words."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, NamedTuple

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

RECURRING = frozenset({"tick", "second"})
"""`tick` runs 0.3 s after its last end, `second` at each second of the clock."""

POISON_S = 0.3
"""So long after its start the poison kills the process that it runs in."""

WRITTEN_S = 5.0
"""So long after the end of a run its completion may be on its way."""

SWEEP_S = 5.5
"""So long after the heartbeat timeout the dead may wait for a sweep: those are put off for 5 s after an outage."""

EARLY_S = 0.1
"""So much may the clocks differ by which an execution is due and its start is written down."""

PAUSE_S = 4.0
"""So long a pause needs no fault on a busy machine; both recur after a second at most."""

LONGEST_PAUSE_S = 45.0
"""No pause is longer, whatever happens: each outage puts sweeps off again, and some come one upon the other."""

HEALED_S = 1.0
"""So long after a fault is over it may still be felt."""

MEDIAN_S = 1.0
LATE_S = 10.0
"""How late what is due while there is no fault may be: half of it, and the rest, which the dead may hold."""


def lost(history: History) -> list[str]:
    """What was surely scheduled has run to its end, or is accounted for."""
    done = {(run.task, run.instance) for run in history.runs if run.result == "end"}
    done |= {("exact", instance) for instance in history.effects}  # killed before it could say so
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


def doubled(history: History) -> list[str]:
    """What has run to its end runs again only where its worker was killed or silent before that was written.

    What recurs does so under one name: there it is the time that must not come twice.
    """
    return [
        f"doubled: {later.task} {later.instance}, token {later.token} in {later.worker} at {later.start:.3f},"
        f" though token {earlier.token} in {earlier.worker} had ended"
        for runs in _by_execution(history).values()
        for earlier, later in pairwise(runs)
        if earlier.result == "end"
        and (earlier.task not in RECURRING or earlier.due == later.due)
        and not _was_killed(earlier, later, history)
        and not _was_silent(earlier, later, history)
    ]


def refused(history: History) -> list[str]:
    """Only who was superseded is refused, or who asks again because the first answer was lost."""
    by_token = sorted(history.runs, key=lambda run: run.token)
    newest = {(run.task, run.instance): run for run in by_token}
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


def early(history: History) -> list[str]:
    """Nothing starts before its time, by the clock of the database, whatever a worker's own says."""
    return [
        f"early: {run.task} {run.instance}, by {run.due - run.start:.3f} s in {run.worker}"
        for run in history.runs
        if run.start < run.due - EARLY_S
    ]


def stopped(history: History) -> list[str]:
    """What recurs goes on from the beginning to the end; it pauses for a fault only, and its recovery."""
    return [
        f"stopped: {task} between {since:.3f} and {until:.3f}, {unexplained:.1f} s of it for no fault"
        for task in sorted(RECURRING)
        for since, until in pauses(history, task)
        if (unexplained := _unexplained_s(since, until, history)) > PAUSE_S
        or until - since > LONGEST_PAUSE_S
    ]


def drifted(history: History) -> list[str]:
    """What is to run at each second is due at whole ones, however late it ran before, and whoever's clock is wrong."""
    return [
        f"drifted: second at {run.due:.3f}, {off:+.3f} s off the whole second"
        for run in history.runs
        if run.task == "second" and abs(off := (run.due + history.epoch + 0.5) % 1 - 0.5) > 0.001
    ]


def late(history: History) -> list[str]:
    """While there is no fault, work starts soon."""
    found = Lateness.of(history)
    wrong = []
    if found.p50_s > MEDIAN_S:
        wrong.append(f"late: {found.p50_s:.1f} s at the median")
    if found.max_s > LATE_S:
        wrong.append(f"late: {found.latest}, {found.max_s:.1f} s")
    return wrong


CHECKS = (
    lost,
    stuck,
    token_reuse,
    overlaps,
    doubled,
    refused,
    doubled_effects,
    early,
    stopped,
    drifted,
    late,
)


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


def longest_pause(history: History, task: str) -> float:
    """Between two runs of what recurs, whatever was going on."""
    return max(until - since for since, until in pauses(history, task))


class Lateness(NamedTuple):
    """Of what became due while there was no fault, and started before there was one again."""

    number: int
    p50_s: float
    p99_s: float
    max_s: float
    latest: str

    @classmethod
    def of(cls, history: History) -> Lateness:
        """By the first run of each execution: later ones come after a failure."""
        found = sorted(
            (run.start - run.due, f"{run.task} {run.instance}")
            for runs in _by_execution(history).values()
            for run in runs[:1]
            if not _is_disturbed(run.due, run.start, history)
        )
        if not found:
            return cls(0, 0.0, 0.0, 0.0, "")
        (p50_s, _), (p99_s, _) = found[len(found) // 2], found[len(found) * 99 // 100]
        return cls(len(found), p50_s, p99_s, *found[-1])


# How it is judged


def end_of(run: Run, history: History) -> float:
    """When a run was surely over: it said so, or it was killed."""
    if run.end is not None:
        return run.end
    return min(_kills_of(run, history), default=run.start)


def _kills_of(run: Run, history: History) -> list[float]:
    """When its worker, or its process, was killed since it started."""
    by_faults = [
        fault.ended
        for fault in history.faults
        if fault.kind in KILLS and fault.worker == run.worker
    ]
    by_poison = [
        poison.start + POISON_S
        for poison in history.runs
        if poison.task == "poison" and poison.pid == run.pid
    ]
    return [at for at in by_faults + by_poison if at >= run.start]


def _was_killed(earlier: Run, later: Run, history: History) -> bool:
    return any(at <= later.start for at in _kills_of(earlier, history))


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


def pauses(history: History, task: str) -> list[tuple[float, float]]:
    """From each run of it to the next, and from the beginning and to the end."""
    starts = [run.start for run in history.runs if run.task == task and run.start > history.since]
    return list(pairwise([history.since, *starts, history.until]))


def _unexplained_s(since: float, until: float, history: History) -> float:
    """How much of a time lies in no fault and no recovery from one.

    Whoever it hit: also a worker that has picked an execution and not run it can keep the others waiting.
    """
    recovery_s = history.heartbeat_timeout_s + SWEEP_S
    unexplained_s = 0.0
    for fault in sorted(history.faults, key=lambda fault: fault.began):
        if fault.kind is not Kind.CLOCK and fault.ended + recovery_s > since:
            unexplained_s += max(0.0, min(fault.began, until) - since)
            since = min(until, fault.ended + recovery_s)
    return unexplained_s + until - since


def _is_disturbed(since: float, until: float, history: History) -> bool:
    return any(
        fault.kind is not Kind.CLOCK and fault.began < until and fault.ended + HEALED_S > since
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
