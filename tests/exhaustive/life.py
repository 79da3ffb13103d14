"""The life of one execution with two workers, a clock, faults and a client: every move that may come next.

A model: no SQL, no processes. Time is the age of a heartbeat, young, old or beyond the timeout; faults come out of a budget,
which bounds versions and identities and so closes the space of states. What is modelled is in docs/guarantees.md.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CRASHES = 2
DEAD_AGE = 2
"""Ages are 0, 1 and this: beyond the heartbeat timeout."""


class Rules(NamedTuple):
    """What guards what; a variant has one of them taken out."""

    fence_asks_version: bool = True
    fence_asks_owner: bool = True
    identities_are_fresh: bool = True
    sweep_has_grace: bool = True
    recovery_bumps_version: bool = True
    strays_are_released: bool = True
    stopped_are_not_beaten_for: bool = True
    future_beats_are_dead: bool = True
    release_waits_for_the_end: bool = True
    what_is_held_is_not_started_again: bool = True


class Row(NamedTuple):
    """The execution in the table; `age` of its heartbeat, None where that lies in the future."""

    version: int = 1
    owner: str | None = None
    age: int | None = 0
    crashes: int = 0


class Run(NamedTuple):
    """What a worker believes to hold: a pick of its own, still running or ended and not written yet."""

    version: int
    is_running: bool


class Mode(Enum):
    UP = "up"
    STOPPED = "stopped"
    DEAD = "dead"


class Worker(NamedTuple):
    """One worker with one poller. `left` is the identity that a dead one left behind, until it is recovered."""

    name: str
    start: int = 1
    mode: Mode = Mode.UP
    runs: frozenset[Run] = frozenset()
    left: str | None = None
    was_running: bool = False

    @property
    def identity(self) -> str:
        return f"{self.name}{self.start}"


class End(Enum):
    NONE = "not yet"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class State(NamedTuple):
    """Everything. `before` is the row before its last commit, for a failover that loses that; `declared` are the versions
    whose owner somebody has called dead or sent away; `accepted` counts successes written.
    """

    row: Row | None = Row()
    before: Row | None = Row()
    workers: tuple[Worker, Worker] = (Worker("a"), Worker("b"))
    is_out: bool = False
    unbeaten: frozenset[str] = frozenset()
    declared: frozenset[int] = frozenset()
    end: End = End.NONE
    accepted: int = 0
    faults: int = 3
    stale_changed: bool = False


class Move(NamedTuple):
    """What happened, and what is then."""

    what: str
    after: State
    is_fault: bool = False


def moves(state: State, rules: Rules) -> Iterator[Move]:
    """All that may come next."""
    for place, worker in enumerate(state.workers):
        yield from _of_worker(state, place, worker, rules)
    yield from _of_surroundings(state, rules)


def accepts(row: Row | None, identity: str, run: Run, rules: Rules) -> bool:
    """The fence: whether a result of this run would be written."""
    return (
        row is not None
        and row.owner is not None
        and (not rules.fence_asks_version or row.version == run.version)
        and (not rules.fence_asks_owner or row.owner == identity)
    )


def is_rightful(row: Row | None, identity: str, run: Run) -> bool:
    """Whether the execution is this run's, whatever the fence says."""
    return row is not None and (row.owner, row.version) == (identity, run.version)


# A worker's moves


def _of_worker(state: State, place: int, worker: Worker, rules: Rules) -> Iterator[Move]:
    if worker.mode is Mode.UP:
        yield from _running(state, place, worker)
        if not state.is_out:
            yield from _talking(state, place, worker, rules)
    if state.faults:
        yield from _dying(state, place, worker)
    if worker.mode is Mode.STOPPED:
        yield Move(f"{worker.identity} goes on", _with(state, place, worker._replace(mode=Mode.UP)))
    if worker.mode is Mode.DEAD and worker.left is None:
        start = worker.start + rules.identities_are_fresh
        fresh = Worker(worker.name, start)
        yield Move(f"{worker.name} starts again as {fresh.identity}", _with(state, place, fresh))


def _running(state: State, place: int, worker: Worker) -> Iterator[Move]:
    for run in worker.runs:
        if run.is_running:
            ended = worker.runs - {run} | {run._replace(is_running=False)}
            yield Move(
                f"the run of {worker.identity} with version {run.version} ends",
                _with(state, place, worker._replace(runs=ended)),
            )


def _talking(state: State, place: int, worker: Worker, rules: Rules) -> Iterator[Move]:
    row, identity = state.row, worker.identity
    if row is None:
        yield from _written(state, place, worker, rules)
        return
    if row.owner is None:
        picked = _commit(state, Row(row.version + 1, identity, 0, row.crashes))
        is_held = row.version + 1 in {run.version for run in worker.runs}
        new = {Run(row.version + 1, is_running=True)}
        if is_held and rules.what_is_held_is_not_started_again:
            new = set()
        held = worker._replace(runs=worker.runs | new)
        yield Move(f"{identity} picks version {row.version + 1}", _with(picked, place, held))
        if state.faults:
            yield _fault(f"{identity} picks, and its answer is lost", picked)
    if row.owner == identity and (row.age != 0 or identity in state.unbeaten):
        beaten = state._replace(row=row._replace(age=0), unbeaten=state.unbeaten - {identity})
        yield Move(f"{identity} beats", beaten)
    elif identity in state.unbeaten:
        yield Move(f"{identity} beats", state._replace(unbeaten=state.unbeaten - {identity}))
    is_stray = row.owner == identity and row.version not in {run.version for run in worker.runs}
    if is_stray and rules.strays_are_released:
        yield Move(f"{identity} hands back a stray", _freed(state, row))
    may_sweep = not state.unbeaten or not rules.sweep_has_grace
    if row.owner is not None and may_sweep and _looks_dead(row, rules):
        yield Move(f"{identity} sweeps", _recovered(state, row, rules, has_died=True))
    for other in state.workers:
        if other.left is not None and row.owner == other.left:
            what = f"what {other.left} left is handed on"
            yield Move(what, _recovered(state, row, rules, has_died=other.was_running))
    yield from _written(state, place, worker, rules)
    yield from _stopping(state, place, worker, rules)


def _written(state: State, place: int, worker: Worker, rules: Rules) -> Iterator[Move]:
    for run in worker.runs:
        if run.is_running:
            continue
        without = worker._replace(runs=worker.runs - {run})
        about = f"{worker.identity} with version {run.version}"
        if not accepts(state.row, worker.identity, run, rules):
            yield Move(f"the result of {about} is stale", _with(state, place, without))
            continue
        stale = state.stale_changed or not is_rightful(state.row, worker.identity, run)
        done = _commit(state, None)._replace(
            end=End.COMPLETED, accepted=state.accepted + 1, stale_changed=stale
        )
        yield Move(f"the result of {about} is written", _with(done, place, without))
        if state.faults:
            yield _fault(f"the result of {about} is written, and its answer is lost", done)
            assert state.row is not None
            failed = _freed(state, state.row)
            yield _fault(f"the run of {about} has failed: retry", _with(failed, place, without))


def _stopping(state: State, place: int, worker: Worker, rules: Rules) -> Iterator[Move]:
    """A shutdown whose time is over: what still runs is handed back once its process is gone; or, in a variant, before."""
    row = state.row
    running = [run for run in worker.runs if run.is_running]
    if state.faults and row is not None and row.owner == worker.identity and running:
        if rules.release_waits_for_the_end:
            gone = worker._replace(mode=Mode.DEAD, runs=frozenset())
            yield _fault(f"{worker.identity} is stopped", _with(_freed(state, row), place, gone))
        else:
            yield _fault(f"{worker.identity} releases before it has ended", _freed(state, row))


def _dying(state: State, place: int, worker: Worker) -> Iterator[Move]:
    identity = worker.identity
    if worker.mode is Mode.UP:
        stopped = worker._replace(mode=Mode.STOPPED)
        yield _fault(f"{identity} stands still", _with(state, place, stopped))
    if worker.mode is not Mode.DEAD:
        was_running = any(run.is_running for run in worker.runs)
        dead = worker._replace(mode=Mode.DEAD, runs=frozenset(), was_running=was_running)
        seen = _with(state, place, dead._replace(left=identity))
        yield _fault(f"{identity} dies, and its supervisor sees it", seen)
        yield _fault(f"{identity} dies with its supervisor", _with(state, place, dead))


# The surroundings' moves


def _of_surroundings(state: State, rules: Rules) -> Iterator[Move]:
    row = state.row
    if row is not None and row.owner is not None and row.age is not None and row.age < DEAD_AGE:
        older = row.age + 1
        if older < DEAD_AGE or not _is_beaten_for(state, row.owner, rules):
            yield Move("time passes", state._replace(row=row._replace(age=older)))
    for place, worker in enumerate(state.workers):
        if worker.left is not None and (row is None or row.owner != worker.left):
            yield Move(
                f"{worker.left} left nothing", _with(state, place, worker._replace(left=None))
            )
    if row is not None and row.owner is None:
        yield Move(
            "the client cancels", _commit(state, None)._replace(end=End.CANCELLED), is_fault=True
        )
    if state.is_out:
        unbeaten = frozenset(w.identity for w in state.workers if w.mode is Mode.UP)
        yield Move("the database is back", state._replace(is_out=False, unbeaten=unbeaten))
    elif state.faults:
        yield _fault("the database is away", state._replace(is_out=True))
    if state.faults and row is not None and row.owner is not None:
        yield _fault("the clock jumps back", state._replace(row=row._replace(age=None)))
    if state.faults and state.before != row and state.end is End.NONE:
        gone = {row.version} if row is not None else set()
        lost = state._replace(row=state.before, declared=state.declared | gone)
        yield _fault("a failover loses the last commit", lost)


def _is_beaten_for(state: State, owner: str, rules: Rules) -> bool:
    """Whether a beat comes in time: of a worker that is up and reaches the database."""
    modes = {Mode.UP} if rules.stopped_are_not_beaten_for else {Mode.UP, Mode.STOPPED}
    return not state.is_out and any(
        worker.identity == owner and worker.mode in modes and owner not in state.unbeaten
        for worker in state.workers
    )


def _looks_dead(row: Row, rules: Rules) -> bool:
    return rules.future_beats_are_dead if row.age is None else row.age == DEAD_AGE


# What moves are made of


def _fault(what: str, after: State) -> Move:
    return Move(what, after._replace(faults=after.faults - 1), is_fault=True)


def _with(state: State, place: int, worker: Worker) -> State:
    workers = list(state.workers)
    workers[place] = worker
    unbeaten = state.unbeaten & {each.identity for each in workers if each.mode is Mode.UP}
    return state._replace(workers=(workers[0], workers[1]), unbeaten=unbeaten)


def _commit(state: State, row: Row | None) -> State:
    return state._replace(row=row, before=state.row)


def _freed(state: State, row: Row) -> State:
    return _commit(state, Row(row.version + 1, None, 0, row.crashes))


def _recovered(state: State, row: Row, rules: Rules, *, has_died: bool) -> State:
    crashes = row.crashes + has_died
    declared = state.declared | {row.version}
    if has_died and crashes >= MAX_CRASHES:
        return _commit(state, None)._replace(end=End.FAILED, declared=declared)
    freed = Row(row.version + rules.recovery_bumps_version, None, 0, crashes)
    return _commit(state, freed)._replace(declared=declared)
