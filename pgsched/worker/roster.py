"""Which pollers a worker has, and which have ended: what a supervisor tells its housekeeper.

The ends are told once each: all that were ever remembered, each with its traces, soon don't fit into a pipe.
"""

from __future__ import annotations

import json
import os
from enum import StrEnum
from typing import NamedTuple

from pgsched.domain.presence import DRAINING, RUNNING
from pgsched.worker.wakeup import drained

REMEMBERED_ENDS = 100


class Member(NamedTuple):
    """A poller of this worker, as the supervisor knows it."""

    identity: str
    pid: int
    number: int


class End(StrEnum):
    """How a poller ended. Only what died of itself leaves executions that collect a crash."""

    IN_ORDER = "in order"
    KILLED = "killed"
    DIED = "died"


class Ended(NamedTuple):
    """A poller that is gone; where it died: of what, and what it was running (their `seq`)."""

    identity: str
    end: End
    started: tuple[int, ...] = ()
    cause: str = ""


class Roster(NamedTuple):
    """Who is there, and whose executions are still to be handed on."""

    members: tuple[Member, ...] = ()
    ended: tuple[Ended, ...] = ()
    state: str = RUNNING

    def followed_by(self, news: Roster) -> Roster:
        """Who is there by the news, and whoever had ended before as well; of these the last ones are enough."""
        ended = (*self.ended, *news.ended)[-REMEMBERED_ENDS:]
        return Roster(news.members, ended, news.state)

    def tell(self, pipe: int) -> bool:
        """Write it on a pipe that doesn't block; answers whether it went through whole."""
        line = (json.dumps(self) + "\n").encode()
        try:
            return os.write(pipe, line) == len(line)
        except (BlockingIOError, BrokenPipeError):
            return False

    @classmethod
    def read(cls, line: bytes) -> Roster:
        members, ended, state = json.loads(line)
        return cls(
            tuple(Member(*member) for member in members),
            tuple(
                Ended(who, End(end), tuple(started), cause) for who, end, started, cause in ended
            ),
            state,
        )


class Orders:
    """The housekeeper's end of that pipe, and what has come through it in all."""

    def __init__(self, pipe: int, roster: Roster) -> None:
        self._pipe: int | None = pipe
        self._unread = b""
        self.roster = roster

    @property
    def ends(self) -> list[int]:
        """What to wait for; nothing once there will be no more orders."""
        return [] if self._pipe is None else [self._pipe]

    @property
    def are_over(self) -> bool:
        """Whether the supervisor is done, or gone."""
        return self._pipe is None

    def take(self) -> None:
        """Take in what has come."""
        assert self._pipe is not None
        try:
            self._unread += drained(self._pipe)
        except EOFError:
            self._pipe = None
            self.roster = self.roster._replace(state=DRAINING)
            return
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            self.roster = self.roster.followed_by(Roster.read(line))
