"""Who works here: what a worker says of itself, and how others see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime, timedelta

RUNNING = "running"
DRAINING = "draining"
"""The states of a worker."""


class Presence(NamedTuple):
    """What a worker says of itself, every `seen_every`. Since `progressed_at` not every poller has made a turn;
    `clock_offset` is how far its machine's clock is ahead of the database's; nobody is to call it dead before
    `heartbeat_timeout` is over, None of a release that didn't say.
    """

    worker: str
    host: str
    pid: int
    version: str
    started_at: datetime
    seen_every: timedelta
    state: str
    pollers: int
    slots: int
    busy: int
    progressed_at: datetime | None
    clock_offset: timedelta
    hears_notifications: bool
    tasks: list[str]
    recurring: list[str]
    heartbeat_timeout: timedelta | None


class Seen(NamedTuple):
    """A worker as others see it; `is_alive` while it says lately enough that it is here. `held` are the executions that
    are in its name: what it has picked and nobody has written, or taken over, yet.
    """

    presence: Presence
    seen_at: datetime
    is_alive: bool
    held: int
