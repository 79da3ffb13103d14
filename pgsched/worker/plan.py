"""What a worker is to do: frozen values alone, made before the first fork and shared by every process after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from pgsched.domain.task import AnyTask
    from pgsched.store.session import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """Where health and metrics are served; who asks for metrics needs the `token`, where there is one."""

    host: str
    port: int
    token: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The configuration of one worker, its tasks, and where its database is."""

    worker_id: str
    database: Database
    tasks: Mapping[str, AnyTask]
    processes: int
    concurrency: int
    batch_size: int
    polling_interval: timedelta
    heartbeat_interval: timedelta
    heartbeat_timeout: timedelta
    shutdown_timeout: timedelta
    max_crashes: int
    stall_timeout: timedelta
    max_executions_per_process: int | None
    max_memory_per_process: int | None
    maintenance_interval: timedelta | None
    monitoring: Monitoring | None
