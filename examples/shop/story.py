"""What the demo says: one line for each thing that happens, made from the worker's log or from its own doings."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Event: TypeAlias = "Mapping[str, Any]"

QUIET_TASKS = {"import-row", "expire-unpaid-orders"}
"""Their successes are too many to tell one by one."""

RECOVERIES_TOLD = 3

STYLES = {"info": "", "warning": "yellow", "error": "red"}


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _retry(event: Event) -> str:
    """How long after the event: no delay in this shop is as long as a minute."""
    told, retry = (datetime.fromisoformat(event[key]) for key in ("timestamp", "retry"))
    return f"{max(0.0, (retry - told).total_seconds()):.1f} s"


SENTENCES: dict[str, Callable[[Event], str]] = {
    "worker.started": lambda event: (
        f"process {event['pid']} supervises {event['processes']} pollers"
    ),
    "worker.stopping": lambda event: f"{event['signal']}: running tasks may finish",
    "worker.stopped": lambda _: "stopped",
    "poller.started": lambda event: f"process {event['pid']} is picking",
    "poller.died": lambda event: f"process {event['pid']} died of {event['status']}",
    "task.scheduled": lambda event: f"scheduled for {event['at'][:19]} UTC",
    "execution.completed": lambda event: (
        f"started {_ms(event['lateness_s'])} late, succeeded in {_ms(event['duration_s'])}"
    ),
    "execution.failed": lambda event: (
        f"run {event['attempt']} failed: {event['error']}; retried in {_retry(event)}"
    ),
    "execution.exhausted": lambda event: (
        f"run {event['attempt']} failed: {event['error']}; given up"
    ),
    "execution.recovered": lambda _: "was held by the dead poller: due again",
    "orders.expired": lambda event: f"orders {event['orders']} have not been paid in time",
}


class Story:
    """A clock and a console."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._started_at = time.monotonic()
        self._recovered = 0

    @property
    def lasted_s(self) -> float:
        return time.monotonic() - self._started_at

    def title(self, text: str) -> None:
        self._console.print(f"\n{text}", style="bold", markup=False)

    def show(self, text: str, style: str = "") -> None:
        self._console.print(text, style=style, markup=False)

    def say(self, who: str, what: str, style: str = "") -> None:
        self.show(f"{self.lasted_s:5.1f} s  {who:26} {what}", style)

    def tell(self, event: Event) -> None:
        """Say what the worker logged, unless it is one of thousands or of no interest."""
        name, level = event["event"], event["level"]
        if self._is_one_of_many(event):
            return
        if name in SENTENCES:
            self.say(_who(event), SENTENCES[name](event), STYLES[level])
        elif level == "error":
            self.say(_who(event), f"{name}: {event.get('error', '')}", STYLES[level])

    def _is_one_of_many(self, event: Event) -> bool:
        match event["event"]:
            case "execution.completed":
                return event["task"] in QUIET_TASKS
            case "execution.recovered":
                self._recovered += 1
                return self._recovered > RECOVERIES_TOLD
            case _:
                return False


def _who(event: Event) -> str:
    """The execution, or the process, that an event is about."""
    if "task" in event:
        return f"{event['task']} {event['instance']}".removesuffix(" default")
    if "poller" in event:
        return f"poller {event['poller'].rpartition('/')[2].partition('-')[0]}"
    return "worker"
