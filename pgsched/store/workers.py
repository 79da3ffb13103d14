"""Who works here, as each worker says of itself: for people, and for who judges whether it is dead."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pgsched.store.operation import Query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsched.domain.presence import Presence

PATIENCE = timedelta(milliseconds=500)
"""Somebody's lock is not waited for longer: whoever says that it is here has beats to send."""


def write_presence(presence: Presence) -> Sequence[Query]:
    """Say that it is here, and forget whoever was not seen for an hour. To be run together."""
    return (_patiently(), Query("write_worker", presence._asdict()))


def remove_presence(worker: str, host: str, pid: int) -> Sequence[Query]:
    """Say that this one has left. To be run together."""
    which = {"worker": worker, "host": host, "pid": pid}
    return (_patiently(), Query("remove_worker", which))


def longer_timeouts(timeout: timedelta) -> Sequence[Query]:
    """Which workers want to be judged by a longer heartbeat timeout than this: rows of name and timeout. To be run
    together.
    """
    return (_patiently(), Query("longer_timeouts", {"timeout": timeout}))


def _patiently() -> Query:
    limit_ms = str(round(PATIENCE.total_seconds() * 1000))
    return Query("set_for_transaction", {"names": ["lock_timeout"], "values": [limit_ms]})
