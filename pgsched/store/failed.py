"""Failed executions: put back or thrown away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgsched.errors import ExecutionExists, ExecutionNotFound
from pgsched.store.operation import Operation, Query

if TYPE_CHECKING:
    from pgsched.domain.execution import TaskInstance
    from pgsched.store.statement import Names


def retry(names: Names, id: TaskInstance) -> Operation[None]:
    """Make the newest failed execution of an instance due now, with all counts anew.

    Raises: ExecutionNotFound; ExecutionExists where the instance has been scheduled again meanwhile.
    """
    [(found, restored, _)] = yield Query("retry", {**id._asdict(), "channel": names.channel})
    if not found:
        raise ExecutionNotFound(*id, what="failed execution")
    if not restored:
        raise ExecutionExists(*id)


def discard(id: TaskInstance) -> Operation[None]:
    """Delete the newest failed execution of an instance. Raises: ExecutionNotFound."""
    [(deleted,)] = yield Query("discard", id._asdict())
    if not deleted:
        raise ExecutionNotFound(*id, what="failed execution")
