"""From the schema of every release on: with work in flight the database is migrated, and a worker goes on with it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgsched.store.migrating import all_migrations, migrate, needed_version, script
from tests.postgres import new_database
from tests.worker.running import Project, Worker

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

VERSIONS = range(1, needed_version() + 1)
FAILED_SINCE = 3

IN_FLIGHT = """
insert into scheduled_tasks (task_name, task_instance, execution_time) values
  ('run', 'due', now() - interval '1 hour'), ('run', 'ahead', now() + interval '1 day');
insert into scheduled_tasks (task_name, task_instance, consecutive_failures, last_failure, version)
  values ('run', 'retrying', 2, now() - interval '1 minute', 5);
insert into scheduled_tasks (task_name, task_instance, picked, picked_by, last_heartbeat, version)
  values ('run', 'dead', true, 'an-old-worker/0-12345678', now() - interval '1 hour', 2);
insert into scheduled_tasks (task_name, task_instance, last_success, version)
  values ('tick', 'default', now() - interval '1 minute', 100)
"""

FAILED = """
insert into scheduled_tasks_failed (task_name, task_instance, execution_time, consecutive_failures, version, crashes,
  attempts, error) values ('run', 'failed', now() - interval '1 day', 1, 3, 0, 1, 'RuntimeError: a day ago')
"""


@pytest.fixture(scope="module")
def upgraded(
    server: str, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Mapping[int, tuple[Project, Worker]]]:
    """By the version it came from: a database with work in flight, migrated since, and a worker on it. All at once."""
    with ExitStack() as stack:
        found = {}
        for version in VERSIONS:
            conninfo = stack.enter_context(new_database(server))
            upgrade(conninfo, version)
            project = Project(tmp_path_factory.mktemp(f"from-{version}"), conninfo)
            stack.callback(project.client.close)
            worker = project.worker(number=0, processes=1)
            stack.callback(worker.kill_everything)
            found[version] = (project, worker)
        yield found


def upgrade(conninfo: str, version: int) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(script(all_migrations()[:version]).encode())
        connection.execute(IN_FLIGHT)
        if version >= FAILED_SINCE:
            connection.execute(FAILED)
        applied = [each.version for each in migrate(connection)]
    assert applied == [each for each in VERSIONS if each > version]


@pytest.mark.parametrize("version", VERSIONS)
def test_work_in_flight_goes_on(
    version: int, upgraded: Mapping[int, tuple[Project, Worker]]
) -> None:
    project, worker = upgraded[version]
    for instance in ("due", "retrying", "dead"):
        project.wait_gone(instance)
        assert len(project.diary("ran", instance)) == 1
    assert len(worker.events("execution.recovered", instance="dead")) == 1
    ahead = project.client.get("run", "ahead")
    assert ahead is not None
    assert (ahead.version, ahead.crashes, ahead.picked) == (1, 0, False)
    project.wait_entries("ticked")
    assert project.diary("ticked")[0].token > 100
    if version >= FAILED_SINCE:
        project.client.retry("run", "failed")
        project.wait_entries("ran", "failed")
