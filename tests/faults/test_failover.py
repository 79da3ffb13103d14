"""The primary is gone, its standby takes over, and the DSN names both."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import make_conninfo

from chaos.proxy import Mode, Proxy
from pgsched import AsyncClient, Client
from pgsched.errors import DatabaseUnavailable
from tests.faults.busy import busy, is_gone
from tests.faults.conftest import fresh_database
from tests.faults.nodes import Cluster, Node
from tests.waiting import wait_until
from tests.worker.running import Project, Worker

if TYPE_CHECKING:
    from pathlib import Path

Start = Callable[..., Worker]


@pytest.fixture(scope="module")
def servers() -> Generator[Cluster]:
    with closing(Cluster()) as cluster:
        yield cluster


@pytest.fixture
def cluster(servers: Cluster) -> Generator[Cluster]:
    """A fresh database on the primary."""
    fresh_database(servers.primary.conninfo)
    yield servers
    servers.remove_gone()


@pytest.fixture
def replication(cluster: Cluster) -> Generator[Proxy]:
    """A standby that is up to date follows through this."""
    with closing(cluster.follow()) as proxy:
        yield proxy


@pytest.fixture
def dsn(cluster: Cluster, replication: Proxy) -> str:
    """Names both, the standby first."""
    assert cluster.standby is not None
    folders = (cluster.standby.folder, cluster.primary.folder)
    return make_conninfo(host=",".join(map(str, folders)), dbname="faults", user="app")


@pytest.fixture
def project(tmp_path: Path, dsn: str) -> Generator[Project]:
    project = Project(tmp_path, dsn)
    yield project
    project.client.close()


@pytest.mark.parametrize("leave", [Node.kill, Node.take_no_writes])
def test_what_every_standby_has_is_neither_lost_nor_run_again(
    project: Project, start: Start, cluster: Cluster, leave: Callable[[Node], None]
) -> None:
    cluster.commit_synchronously(is_on=True)
    worker = start()
    project.client.schedule_many([("run", f"before-{n}") for n in range(100)])
    with busy(project, worker):
        leave(cluster.primary)
        project.wait_entries("ended", count=6)
        cluster.promote()
    worker.wait_event("database.regained")
    ran = [entry.instance for entry in project.diary("ran") if entry.instance != "afterwards"]
    assert sorted(ran) == sorted(f"before-{n}" for n in range(100))


def test_a_run_whose_pick_was_lost_is_not_started_beside_itself(
    project: Project, start: Start, cluster: Cluster, replication: Proxy
) -> None:
    """The standby knows it as due. Where `Holding.add` starts what is held too, it is started twice."""
    worker = start(processes=1)
    project.client.schedule("sleep", "a", 6, at=cluster.soon())
    cluster.wait_replayed()
    replication.set(Mode.SWALLOW)
    project.wait_entries("started", "a")
    assert is_picked(cluster.primary, "a")
    assert not is_picked(cluster.standby, "a")
    cluster.primary.kill()
    cluster.promote()
    wait_until(lambda: is_picked(cluster.primary, "a"), describe="it to be picked once more")
    assert not project.diary("ended", "a")
    project.wait_entries("ended", "a")
    wait_until(lambda: is_gone(project, "a"), describe="its result to be written")
    assert len(project.diary("started", "a")) == 1
    assert not worker.events("completion.stale", instance="a")


def is_picked(node: Node | None, instance: str) -> bool:
    assert node is not None
    rows = node.sql(
        f"select picked from scheduled_tasks where task_instance = '{instance}'", database="faults"
    )
    return rows == [(True,)]


def test_commands_find_the_primary(dsn: str, cluster: Cluster) -> None:
    """Its host is the second; told nothing, libpq takes the first, where nothing can be written."""
    pgsched(dsn, "migrate")
    pgsched(dsn, "schedule", "nobody's", "a")
    assert is_there(cluster.primary, "a")


def pgsched(dsn: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "pgsched", *arguments, "--dsn", dsn]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def is_there(node: Node, instance: str) -> bool:
    rows = node.sql(
        f"select 1 from scheduled_tasks where task_instance = '{instance}'", database="faults"
    )
    return rows == [(1,)]


class Clients:
    """One of each kind, with a connection that has been used."""

    def __init__(self, dsn: str) -> None:
        self._sync = Client(dsn)
        self._async = AsyncClient(dsn)
        self._runner = asyncio.Runner()
        self.kinds = (self._sync.schedule, self._schedule_async)
        for schedule in self.kinds:
            schedule("t", schedule.__name__)

    def _schedule_async(self, task: str, instance: str) -> bool:
        return self._runner.run(self._async.schedule(task, instance))

    def close(self) -> None:
        self._sync.close()
        self._runner.run(self._async.close())
        self._runner.close()


@pytest.fixture
def clients(dsn: str) -> Generator[Clients]:
    with closing(Clients(dsn)) as clients:
        yield clients


def test_a_client_that_was_idle_meanwhile_notices_nothing(
    clients: Clients, cluster: Cluster
) -> None:
    """Where its connection is not looked at before it is used, the first call fails."""
    cluster.wait_replayed()
    cluster.primary.kill()
    cluster.promote()
    for number, schedule in enumerate(clients.kinds):
        assert schedule("t", f"after-{number}")
        assert not schedule("t", schedule.__name__)  # which was there before


def test_clients_leave_a_primary_that_takes_no_more_writes(
    clients: Clients, cluster: Cluster
) -> None:
    """It closes no connection and tells nobody before the next statement. A client that keeps its connection after
    that error never gets away from it.
    """
    cluster.wait_replayed()
    cluster.primary.take_no_writes()
    cluster.promote()
    for number, schedule in enumerate(clients.kinds):
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            schedule("t", f"after-{number}")
        assert schedule("t", f"after-{number}")
        assert is_there(cluster.primary, f"after-{number}")
