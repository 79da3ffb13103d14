"""Which faults come when: a pure function of a seed."""

from __future__ import annotations

import random
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection


class Kind(StrEnum):
    KILL_POLLER = "kill -9 of a poller"
    KILL_SUPERVISOR = "kill -9 of a supervisor"
    KILL_GROUP = "kill -9 of a whole worker"
    STOP_POLLER = "a poller stands still"
    STOP_HOUSEKEEPER = "a housekeeper stands still"
    TERMINATE = "backends terminated"
    SERVER_FAST = "server restart, fast"
    SERVER_IMMEDIATE = "server restart, immediate"
    SERVER_KILL = "server restart, kill -9"
    CUT = "network cut"
    SWALLOW = "network silent"
    DELAY = "network slow"
    CLOCK = "a wrong clock jumps"


WEIGHTS = {
    Kind.KILL_POLLER: 5,
    Kind.KILL_SUPERVISOR: 1,
    Kind.KILL_GROUP: 2,
    Kind.STOP_POLLER: 3,
    Kind.STOP_HOUSEKEEPER: 1,
    Kind.TERMINATE: 3,
    Kind.SERVER_FAST: 1,
    Kind.SERVER_IMMEDIATE: 1,
    Kind.SERVER_KILL: 1,
    Kind.CUT: 2,
    Kind.SWALLOW: 2,
    Kind.DELAY: 1,
    Kind.CLOCK: 1,
}

LASTING = frozenset(Kind) - {
    Kind.KILL_POLLER,
    Kind.KILL_SUPERVISOR,
    Kind.KILL_GROUP,
    Kind.TERMINATE,
    Kind.CLOCK,
}
"""Those that are held for a while before they are over."""


class Step(NamedTuple):
    """A pause, then a fault for so many seconds; `worker` and `chance` (0 to 1) choose whom it hits."""

    pause_s: float
    kind: Kind
    hold_s: float
    worker: int
    chance: float


def plan(
    seed: int, duration_s: float, *, workers: int, kinds: Collection[Kind] = tuple(Kind)
) -> list[Step]:
    """The steps that fill so many seconds; of all kinds, or of those given."""
    chance = random.Random(seed)
    among = {kind: weight for kind, weight in WEIGHTS.items() if kind in kinds}
    steps: list[Step] = []
    lasts_s = 0.0
    while lasts_s < duration_s:
        [kind] = chance.choices(list(among), list(among.values()))
        step = Step(
            pause_s=chance.uniform(0.5, 2.5),
            kind=kind,
            hold_s=chance.choice((0.5, 2.0, 4.5)) if kind in LASTING else 0.0,
            worker=chance.randrange(workers),
            chance=chance.random(),
        )
        steps.append(step)
        lasts_s += step.pause_s + step.hold_s
    return steps
