"""Each kind of role does its work with the rights that `pgsched migrate --print-grants` prints, and nothing else.

Without any one of the grants one of these tests fails.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgsched import Client
from pgsched.errors import DatabaseUnavailable
from tests.cli.conftest import Command, environment_without_settings
from tests.worker.running import Project, Worker

if TYPE_CHECKING:
    from pathlib import Path

Start = Callable[..., Worker]

KINDS = ("migrate", "worker", "schedule", "read")
ODD = {"PGSCHED_DATABASE__TABLE": 'my "jobs" 100%', "PGSCHED_DATABASE__SCHEMA": 'its "schema"'}


class Roles:
    """Fresh roles on a database, one of each kind, with no right but what is printed."""

    def __init__(self, folder: Path, admin: str) -> None:
        self.admin = admin
        base = str(conninfo_to_dict(admin)["dbname"])
        self.names = {kind: f'{base} "{kind}"' for kind in KINDS}
        self.command = Command(folder, environment_without_settings())

    def conninfo(self, kind: str) -> str:
        return make_conninfo(self.admin, user=self.names[kind], password="secret")

    def does(self, statement: str, *, dsn: str | None = None) -> None:
        with psycopg.connect(dsn or self.admin, autocommit=True) as connection:
            connection.execute(statement.encode())

    def grant(self, *kinds: str, dsn: str | None = None, **variables: str) -> None:
        """As the admin, unless another one's `dsn` is given."""
        options = [word for kind in kinds for word in ("--role", f"{kind}={self.names[kind]}")]
        printed = self.command(
            "migrate", "--print-grants", *options, "--dsn", dsn or self.admin, **variables
        )
        assert (printed.status, printed.err) == (0, "")
        self.does(printed.out, dsn=dsn)

    def quoted(self, kind: str) -> str:
        return psycopg.sql.Identifier(self.names[kind]).as_string(None)


@pytest.fixture
def roles(tmp_path: Path, empty_database: str) -> Generator[Roles]:
    roles = Roles(tmp_path, empty_database)
    for kind in KINDS:
        roles.does(f"create role {roles.quoted(kind)} login password 'secret'")
    yield roles
    for kind in KINDS:
        roles.does(f"drop owned by {roles.quoted(kind)}; drop role {roles.quoted(kind)}")


@pytest.fixture
def project(tmp_path: Path, roles: Roles) -> Generator[Project]:
    """Migrated and worked by the roles that are there for it."""
    roles.grant("migrate")
    assert roles.command("migrate", "--dsn", roles.conninfo("migrate")).status == 0
    roles.grant("worker", "schedule", "read")
    project = Project(tmp_path, roles.conninfo("worker"))
    yield project
    project.client.close()


def test_a_worker_does_all_it_does_as_the_worker_role(
    roles: Roles, project: Project, start: Start
) -> None:
    """Runs, retries, gives up, chains, recurs, recovers from a dead poller and from a dead worker, says
    that it is here; and what people then do by hand. It may not maintain, and says nothing of it.
    """
    with Client(roles.conninfo("schedule")) as client:
        for task in ("run", "run-async", "fail", "fail-twice", "isolated"):
            assert client.schedule(task, f"a-{task}")
        assert client.schedule_many([("sleep", "long", 3), ("sleep", "long", 3)]) == 1
        assert client.schedule("chain", "start", 2)
    worker = start(maintenance_interval="400ms", max_crashes=3)
    project.wait_entries("ran", "a-run")
    project.wait_entries("ran", "a-run-async")
    worker.wait_event("execution.exhausted", task="fail")
    project.wait_gone("a-fail-twice")
    project.wait_gone("a-isolated")
    project.wait_gone("link-0")
    held = project.wait_entries("started", "long")[0].pid
    os.kill(held, signal.SIGKILL)
    worker.wait_event("execution.recovered", instance="long")
    project.wait_entries("started", "long", count=2)
    worker.kill_everything()
    project.client.retry("fail", "a-fail")

    worker = start()
    project.wait_gone("long")
    worker.wait_event("execution.exhausted", task="fail")
    assert project.sql("select state from scheduled_tasks_workers where pid = %s", worker.pid)
    client = project.client
    client.discard("fail", "a-fail")
    assert client.schedule("run", "later", at=datetime.now(UTC) + timedelta(hours=1))
    client.reschedule("run", "later", data=1)
    client.cancel("run", "later")
    assert roles.command("status", "--json", "--dsn", project.conninfo).status == 0
    assert worker.stop() == 0
    for event in ("worker.unseen", "maintenance.failed", "database.lost", "index.mended"):
        assert worker.events(event) == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        project.sql("drop table scheduled_tasks")


def test_the_owner_of_the_tables_grants_the_others_what_they_need(roles: Roles) -> None:
    """Without the right to pass on the use of the schema the server only warned, and nobody saw the tables."""
    billing = {"PGSCHED_DATABASE__SCHEMA": "billing"}
    roles.grant("migrate", **billing)
    owner = roles.conninfo("migrate")
    assert roles.command("migrate", "--dsn", owner, **billing).status == 0
    roles.grant("worker", "schedule", "read", dsn=owner, **billing)
    for kind, *words in (
        ("schedule", "schedule", "run", "x"),
        ("read", "status"),
        ("worker", "cancel", "run", "x"),
    ):
        answer = roles.command(*words, "--dsn", roles.conninfo(kind), **billing)
        assert (answer.status, answer.err) == (0, "")


def test_who_schedules_can_do_nothing_else(roles: Roles, project: Project) -> None:
    def asked(*words: str) -> tuple[int, str]:
        answer = roles.command(*words, "--dsn", roles.conninfo("schedule"))
        assert answer.err.count("\n") <= 1
        return answer.status, answer.err

    assert asked("schedule", "run", "x", "--data", "{}", "--priority", "3") == (0, "")
    assert asked("schedule", "run", "x")[0] == 1  # there already
    rows = roles.command.folder / "rows.jsonl"
    rows.write_text('{"task": "run", "instance": "y"}\n')
    assert (
        roles.command(
            "schedule", "--from-file", str(rows), "--dsn", roles.conninfo("schedule")
        ).status
        == 0
    )
    for words, right in {
        ("cancel", "run", "x"): "SELECT and DELETE",
        ("reschedule", "run", "x", "--now"): "SELECT and UPDATE",
        ("list",): "SELECT",
    }.items():
        status, err = asked(*words)
        assert status == 75
        assert "permission denied for table scheduled_tasks (this takes " in err
        assert right.split()[-1] in err
        assert "pgsched migrate --print-grants" in err
    with psycopg.connect(roles.conninfo("schedule"), autocommit=True) as connection:
        for statement in (
            "select task_data from scheduled_tasks",
            "insert into scheduled_tasks (task_name, task_instance, picked) values ('run', 'z', true)",
            "select from scheduled_tasks_failed",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
    assert [
        row[0] for row in project.sql("select task_instance from scheduled_tasks order by 1")
    ] == ["x", "y"]


def test_who_reads_changes_nothing(roles: Roles, project: Project) -> None:
    project.client.schedule("run", "x", {"a": 1})
    dsn = ("--dsn", roles.conninfo("read"))
    assert roles.command("status", "--json", *dsn).status == 0
    assert roles.command("migrate", "--check", *dsn).status == 0
    refused = roles.command("cancel", "run", "x", *dsn)
    assert (refused.status, refused.err.count("\n")) == (75, 1)
    assert roles.command("maintenance", *dsn).status == 75
    with Client(roles.conninfo("read")) as client:
        assert [each.task_data for each in client.list()] == [{"a": 1}]
        assert client.list(state="failed") == []
    with (
        Client(roles.conninfo("read")) as client,
        pytest.raises(DatabaseUnavailable, match="print-grants"),
    ):
        client.schedule("run", "y")


def test_a_worker_that_lacks_a_right_says_so_and_does_not_start(
    roles: Roles, project: Project
) -> None:
    roles.does(f"revoke select on scheduled_tasks_migrations from {roles.quoted('worker')}")
    worker = project.worker(number=0)
    status = worker.wait_exit()
    worker.kill_everything()
    assert status == 75
    [line] = [line for line in worker.lines if "scheduled_tasks_migrations" in line]
    assert "print-grants" in line


def test_names_that_need_quotes_and_tables_of_somebody_else(roles: Roles) -> None:
    """The migrating role becomes the owner of what the first one made."""
    table, schema = ODD.values()
    assert roles.command("migrate", "--dsn", roles.admin, **ODD).status == 0
    roles.grant(*KINDS, **ODD)
    assert roles.command("migrate", "--dsn", roles.conninfo("migrate"), **ODD).status == 0
    assert roles.command("maintenance", "--dsn", roles.conninfo("migrate"), **ODD).status == 0
    with Client(roles.conninfo("schedule"), table=table, schema=schema) as client:
        assert client.schedule("a", "b")
    with Client(roles.conninfo("read"), table=table, schema=schema) as client:
        assert [each.task_name for each in client.list()] == ["a"]
    with Client(roles.conninfo("worker"), table=table, schema=schema) as client:
        client.cancel("a", "b")
