"""pgsched: background jobs and recurring schedules on Postgres, without a broker.

What users import, by name. Everything is loaded on first use, so that `import pgsched` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pgsched.client import UNCHANGED, AsyncClient, Client
    from pgsched.domain.context import ExecutionContext
    from pgsched.domain.execution import (
        Execution,
        FailedExecution,
        NewExecution,
        State,
    )
    from pgsched.domain.failure import (
        ExponentialBackoff,
        Failure,
        FailureHandler,
        FixedDelay,
        GiveUp,
        MaxRetries,
        RetryAt,
        RetryIn,
    )
    from pgsched.domain.schedule import Cron, Daily, Every, Schedule
    from pgsched.domain.task import Task, one_time, recurring
    from pgsched.errors import (
        ConfigError,
        DatabaseUnavailable,
        EmbeddedServerError,
        ExecutionExists,
        ExecutionLost,
        ExecutionNotFound,
        ExecutionRunning,
        InvalidData,
        PgschedError,
        SchemaMismatch,
        TaskModuleError,
    )

_HOMES = {
    "pgsched.client": ("UNCHANGED", "AsyncClient", "Client"),
    "pgsched.domain.context": ("ExecutionContext",),
    "pgsched.domain.execution": ("Execution", "FailedExecution", "NewExecution", "State"),
    "pgsched.domain.failure": (
        "ExponentialBackoff",
        "Failure",
        "FailureHandler",
        "FixedDelay",
        "GiveUp",
        "MaxRetries",
        "RetryAt",
        "RetryIn",
    ),
    "pgsched.domain.schedule": ("Cron", "Daily", "Every", "Schedule"),
    "pgsched.domain.task": ("Task", "one_time", "recurring"),
    "pgsched.errors": (
        "ConfigError",
        "DatabaseUnavailable",
        "EmbeddedServerError",
        "ExecutionExists",
        "ExecutionLost",
        "ExecutionNotFound",
        "ExecutionRunning",
        "InvalidData",
        "PgschedError",
        "SchemaMismatch",
        "TaskModuleError",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "UNCHANGED",
    "AsyncClient",
    "Client",
    "ConfigError",
    "Cron",
    "Daily",
    "DatabaseUnavailable",
    "EmbeddedServerError",
    "Every",
    "Execution",
    "ExecutionContext",
    "ExecutionExists",
    "ExecutionLost",
    "ExecutionNotFound",
    "ExecutionRunning",
    "ExponentialBackoff",
    "FailedExecution",
    "Failure",
    "FailureHandler",
    "FixedDelay",
    "GiveUp",
    "InvalidData",
    "MaxRetries",
    "NewExecution",
    "PgschedError",
    "RetryAt",
    "RetryIn",
    "Schedule",
    "SchemaMismatch",
    "State",
    "Task",
    "TaskModuleError",
    "one_time",
    "recurring",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
