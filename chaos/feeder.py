"""Schedules work through everything, as an application would, and remembers what was surely committed."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

from pgsched import Client, NewExecution, PgschedError

if TYPE_CHECKING:
    from typing import Any

PAUSE_S = 0.05


class Feeder(threading.Thread):
    """One client of its own, straight to the server."""

    def __init__(self, conninfo: str, seed: int) -> None:
        super().__init__(daemon=True)
        self._conninfo = conninfo
        self._chance = random.Random(seed)
        self._stopped = threading.Event()
        self.sure: set[tuple[str, str]] = set()
        self.unsure = 0

    def run(self) -> None:
        number = 0
        with Client(self._conninfo) as client:
            while not self._stopped.wait(PAUSE_S):
                number += 1
                batch = self._batch(number)
                try:
                    client.schedule_many(batch)
                except PgschedError:
                    self.unsure += len(batch)
                else:
                    self.sure |= {(each.task, each.instance) for each in batch}

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _batch(self, number: int) -> list[NewExecution]:
        """Mostly quick ones, and one of another kind."""
        spans = self._chance.choice((0.1, 0.3, 1.0, 5.0))
        others: list[tuple[str, Any]] = [
            ("slow", spans),
            ("slow-async", spans),
            ("flaky", None),
            ("parent", None),
            ("exact", min(spans, 1.0)),
            ("isolated", min(spans, 0.3)),
        ]
        weights = (2, 3, 3, 3, 4, 1)
        [(task, data)] = self._chance.choices(others, weights)
        quick = [NewExecution("quick", f"{number}-{n}") for n in range(3)]
        return [
            *quick,
            NewExecution("quick-async", f"{number}"),
            NewExecution(task, str(number), data),
        ]
