"""One day of the shop: what its owner does as the worker's log goes by."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from examples.shop import books, store
from examples.shop.make_catalogue import ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from examples.shop.books import Connection
    from examples.shop.story import Event, Story
    from examples.shop.worker import Worker

KILL_AFTER = ROWS // 3
TOLD_EVERY = 500


class Day:
    """Lasts from the pollers' start until everything is done."""

    def __init__(self, connection: Connection, worker: Worker, story: Story) -> None:
        self.retried = self.recovered = 0
        self._connection = connection
        self._worker = worker
        self._story = story
        self._pollers: dict[str, int] = {}
        self._imported = 0
        self._is_open = self._is_closing = self._has_killed = False

    def live(self, orders: Sequence[store.Order], catalogue: Path, *, pollers: int) -> None:
        """Open when all pollers are there, kill one in the middle of the import, stop the worker when all is done."""
        for event in self._worker.events():
            self._story.tell(event)
            self._note(event)
            if not self._is_open and len(self._pollers) == pollers:
                self._is_open = True
                self._open(orders, catalogue)
            if _is_success(event, "import-row"):
                self._count_row(event)
            if _is_success(event, "expire-unpaid-orders") and self._is_over():
                self._is_closing = True
                self._say("everything is done: SIGTERM to the worker")
                self._worker.ask_to_stop()

    def _note(self, event: Event) -> None:
        match event["event"]:
            case "poller.started":
                self._pollers[event["poller"]] = event["pid"]
            case "execution.failed":
                self.retried += 1
            case "execution.recovered":
                self.recovered += 1

    def _open(self, orders: Sequence[store.Order], catalogue: Path) -> None:
        for order in orders:
            store.place_order(self._connection, order)
        by_card = sum(order.card is not None for order in orders)
        self._say(
            f"{len(orders)} orders placed, {by_card} by card: each in one transaction with its charge"
        )
        rows = store.import_catalogue(self._connection, catalogue)
        self._say(f"{rows:,} rows of {catalogue} scheduled in one transaction")

    def _count_row(self, event: Event) -> None:
        self._imported += 1
        if self._imported % TOLD_EVERY == 0:
            self._say(f"import-row has succeeded {self._imported:,} times")
        if self._imported >= KILL_AFTER and not self._has_killed:
            self._try_to_kill(event["poller"])

    def _try_to_kill(self, poller: str) -> None:
        """Held fast first: it is to die with something in its hands, not between two picks."""
        pid = self._pollers[poller]
        os.kill(pid, signal.SIGSTOP)
        self._has_killed = books.is_importing(self._connection, poller)
        if self._has_killed:
            self._say(f"kill -9 {pid}: a poller, in the middle of the import")
        os.kill(pid, signal.SIGKILL if self._has_killed else signal.SIGCONT)

    def _is_over(self) -> bool:
        return self._is_open and not self._is_closing and books.is_all_done(self._connection)

    def _say(self, what: str) -> None:
        self._story.say("shop", what, "bold")


def _is_success(event: Event, task: str) -> bool:
    return (event["event"], event.get("task")) == ("execution.completed", task)
