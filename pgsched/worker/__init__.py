"""The only room with processes, threads and an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgsched.config import Settings
    from pgsched.config.settings import MonitoringSettings
    from pgsched.worker.generation import Predecessor
    from pgsched.worker.plan import Monitoring


def run_worker(settings: Settings, conninfo: str, predecessor: Predecessor | None = None) -> int:
    """Run a worker until it is told to stop; answers its exit status. Where a reload has started it, `predecessor`
    is who did.

    Raises: ConfigError, TaskModuleError, DatabaseUnavailable, SchemaMismatch, all before any task runs.
    """
    from pgsched.registry import load_tasks
    from pgsched.store.session import Database
    from pgsched.store.statement import Names
    from pgsched.worker.plan import Plan
    from pgsched.worker.supervisor import run_plan

    worker = settings.worker
    database = settings.database
    names = Names(database.table, database.schema_name)
    return run_plan(
        Plan(
            worker_id=worker.identity,
            database=Database(conninfo, names, is_pooled=database.pooler is not None),
            tasks=load_tasks(settings.tasks.modules, settings.folder),
            processes=worker.processes,
            concurrency=worker.concurrency,
            batch_size=worker.batch_size,
            polling_interval=worker.polling_interval,
            heartbeat_interval=worker.heartbeat_every,
            heartbeat_timeout=worker.heartbeat_timeout,
            shutdown_timeout=worker.shutdown_timeout,
            max_crashes=worker.max_crashes,
            stall_timeout=worker.stall_timeout,
            max_executions_per_process=worker.max_executions_per_process,
            max_memory_per_process=worker.max_memory_per_process,
            maintenance_interval=worker.maintenance_interval,
            monitoring=_monitoring(settings.monitoring),
        ),
        predecessor,
    )


def _monitoring(settings: MonitoringSettings) -> Monitoring | None:
    from pgsched.worker.plan import Monitoring

    if settings.port is None:
        return None
    token = settings.token
    secret = token.get_secret_value() if token else None
    return Monitoring(host=settings.host, port=settings.port, token=secret)
