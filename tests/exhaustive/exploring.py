"""Every state that can be reached, and the shortest way to each."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from tests.exhaustive.life import End, Rules, State, accepts, moves

if TYPE_CHECKING:
    from collections.abc import Callable


class Violation(NamedTuple):
    """An invariant that doesn't hold, and how that comes about."""

    invariant: str
    trace: list[str]


def one_valid_owner(state: State, rules: Rules) -> bool:
    """At most one run's result would be accepted."""
    valid = [
        run
        for worker in state.workers
        for run in worker.runs
        if accepts(state.row, worker.identity, run, rules)
    ]
    return len(valid) <= 1


def stale_writes_change_nothing(state: State, _rules: Rules) -> bool:
    """What is written was written by who has the execution."""
    return not state.stale_changed


def nothing_is_lost(state: State, _rules: Rules) -> bool:
    """The execution is in the table until it has ended."""
    return (state.row is None) == (state.end is not End.NONE)


def one_result(state: State, _rules: Rules) -> bool:
    """A success is written once."""
    return state.accepted <= 1


def overlaps_are_explained(state: State, _rules: Rules) -> bool:
    """Two run at a time only where the owner of all but the newest had been declared dead."""
    running = sorted(
        run.version for worker in state.workers for run in worker.runs if run.is_running
    )
    return all(version in state.declared for version in running[:-1])


def the_living_are_not_called_dead(state: State, _rules: Rules) -> bool:
    """Nobody takes the execution of a worker that is up and has beaten in time."""
    return state.wronged is None


INVARIANTS: tuple[Callable[[State, Rules], bool], ...] = (
    one_valid_owner,
    stale_writes_change_nothing,
    nothing_is_lost,
    one_result,
    overlaps_are_explained,
    the_living_are_not_called_dead,
)


class Explored(NamedTuple):
    """How many states there are, and the first violation that was met."""

    states: int
    violation: Violation | None


def explore(rules: Rules, *, faults: int) -> Explored:
    """Breadth first, so that a trace is as short as can be. Last: whether all can still end well, without faults."""
    start = State(faults=faults)
    came_from: dict[State, tuple[State, str] | None] = {start: None}
    leads_to: dict[State, list[State]] = {}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        for invariant in INVARIANTS:
            if not invariant(state, rules):
                trace = _trace(came_from, state)
                return Explored(len(came_from), Violation(invariant.__name__, trace))
        for move in moves(state, rules):
            after = _without_what_is_past(move.after)
            if not move.is_fault:
                leads_to.setdefault(after, []).append(state)
            if after not in came_from:
                came_from[after] = (state, move.what)
                waiting.append(after)
    stuck = came_from.keys() - _ending_well(set(came_from), leads_to)
    for state in came_from:  # in the order of discovery: the first one is the nearest
        if state in stuck:
            return Explored(len(came_from), Violation("it_ends", _trace(came_from, state)))
    return Explored(len(came_from), None)


def _without_what_is_past(state: State) -> State:
    """The same state as far as anything can still come of it: a third as many."""
    held = {run.version for worker in state.workers for run in worker.runs if run.is_running}
    before = state.before if state.faults else state.row
    return state._replace(declared=state.declared & held, before=before)


def _ending_well(states: set[State], leads_to: dict[State, list[State]]) -> set[State]:
    """From which an end can be reached by what happens of itself, with no run and no process left in between."""
    ending = {state for state in states if state.end is not End.NONE}
    waiting = list(ending)
    while waiting:
        for earlier in leads_to.get(waiting.pop(), []):
            if earlier not in ending:
                ending.add(earlier)
                waiting.append(earlier)
    return ending


def _trace(came_from: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    steps = []
    origin = came_from[state]
    while origin is not None:
        before, what = origin
        steps.append(what)
        origin = came_from[before]
    return steps[::-1]
