"""What only one worker is to do at a time. A lease runs out by itself, by the database's clock: nobody has to be there
to let it go, and no session has to last. One that lasts longer than any is taken for is of a clock that was wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgsched.store.operation import Operation, Query

if TYPE_CHECKING:
    from datetime import timedelta


def take_lease(lease: str, holder: str, length: timedelta) -> Operation[bool]:
    """Have it for so long from now, as its holder still or as the next one; answers whether that is so."""
    holders = yield from _holders(lease, length)
    if holders and holders != [holder]:
        return False
    wanted = {"lease": lease, "holder": holder, "length": length}
    return bool((yield Query("take_lease", wanted)))


def is_leased(lease: str, length: timedelta) -> Operation[bool]:
    """Whether anybody has it."""
    return bool((yield from _holders(lease, length)))


def _holders(lease: str, length: timedelta) -> Operation[list[str]]:
    rows = yield Query("lease_holder", {"lease": lease, "length": length})
    return [holder for (holder,) in rows]


def release_lease(lease: str, holder: str) -> Operation[None]:
    """Let somebody else have it at once."""
    yield Query("release_lease", {"lease": lease, "holder": holder})
