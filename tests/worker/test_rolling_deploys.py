"""Two versions side by side: of the user's code, and of pgsched over a migration."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

import pgsched
from pgsched.store.migrating import needed_version
from tests.waiting import wait_until
from tests.worker.running import Project, Worker
from tests.worker.scraping import scrape, wait_value

Start = Callable[..., Worker]
Begin = Callable[[Project], Worker]

NEXT = needed_version() + 1

ADDITIVE = f"""-- Works with: {NEXT - 1}
alter table {{table}} add column if not exists note text;
alter table {{table}} add column if not exists weight int not null default 0;
create table if not exists scheduled_tasks_notes (id bigint primary key);
"""

REPLACED_INDEX = f"""-- Works with: {NEXT - 1}
create index {{concurrently}} if not exists newer_order
  on {{table}} (priority desc nulls last, execution_time, seq) where picked = false;

drop index {{concurrently}} if exists {{order_index}};
"""

BREAKING = "alter table {table} add column other text;"

NEWER_TASKS = """
from datetime import timedelta
from pgsched import Daily, Every, one_time, recurring

@one_time("added")
def added(): ...

@recurring("report", schedule={schedule})
def report(): ...
"""


class Release:
    """A later pgsched: this one, with further migrations."""

    def __init__(self, folder: Path, *migrations: str) -> None:
        self.folder = folder
        package = Path(pgsched.__file__).parent
        shutil.copytree(package, folder / "pgsched", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(package.parent / "migrations", folder / "migrations")
        for number, text in enumerate(migrations, NEXT):
            (folder / "migrations" / f"{number:04}_later.sql").write_text(text)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pgsched", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def newer(tmp_path: Path) -> Release:
    return Release(tmp_path / "newer", ADDITIVE, REPLACED_INDEX)


@pytest.fixture
def next_version(tmp_path: Path, database: str) -> Generator[Project]:
    """The user's next version, on the same database."""
    folder = tmp_path / "next"
    folder.mkdir()
    project = Project(folder, database)
    yield project
    project.client.close()


@pytest.fixture
def begin() -> Generator[Callable[[Project], Worker]]:
    """Begins to start a worker of a project; whatever is left of them at the end is killed."""
    workers: list[Worker] = []

    def begin_worker(project: Project) -> Worker:
        workers.append(project.worker(number=10 + len(workers), processes=1))
        return workers[-1]

    yield begin_worker
    for worker in workers:
        worker.kill_everything()


def tasks(project: Project, schedule: str = "Every(hours=1)") -> None:
    (project.folder / "tasks_of_tests.py").write_text(NEWER_TASKS.format(schedule=schedule))


def test_a_worker_goes_on_while_a_newer_release_migrates(
    project: Project, start: Start, newer: Release
) -> None:
    """Under load: nothing lost, nothing run twice, not one error; then a poller that died is restarted."""
    worker = start(processes=1)
    project.client.schedule_many([("sleep", f"long-{n}", 1) for n in range(3)])
    project.wait_entries("started", count=3)
    migrating = threading.Thread(target=newer.run, args=("migrate", "--dsn", project.conninfo))
    migrating.start()
    scheduled = 0
    while migrating.is_alive():
        scheduled += project.client.schedule_many([("run", f"{scheduled + n}") for n in range(20)])
    assert newer.run("migrate", "--check", "--dsn", project.conninfo).returncode == 0
    wait_until(lambda: not project.client.list(limit=1, task="run"), describe="all to be run")
    wait_until(lambda: not project.client.list(limit=1, task="sleep"), describe="all to end")
    assert len(project.diary("ran")) == scheduled
    assert len(project.diary("started")) == 3
    for event in ("database.lost", "completion.stale", "poller.died", "execution.recovered"):
        assert not worker.events(event)
    project.client.schedule("kill-own-process", "a")
    worker.wait_event("poller.died")
    worker.wait_event("poller.started", count=2)
    project.client.schedule("run", "afterwards")
    project.wait_gone("afterwards")


def test_what_is_restarted_after_an_upgrade_in_place_is_of_the_old_release(
    project: Project, begin: Begin, tmp_path: Path
) -> None:
    """Each process read the statements for itself: one that was restarted ran those of the other release.

    And a reporter imported what was never imported before, at its restart and when it was asked for metrics.
    """
    release = Release(tmp_path / "release")
    project.release = release.folder
    project.monitoring = {"port": 0}
    worker = begin(project)
    worker.wait_ready()
    [reporter] = worker.wait_event("reporter.started")
    for file in (release.folder / "pgsched" / "store" / "sql").iterdir():
        file.write_text("select 'of another release'")
    for file in (release.folder / "pgsched").rglob("*.py"):
        file.write_text("raise ImportError('of another release')")
    assert scrape(worker)("pgsched_slots") == 10
    for process in (worker.pollers[0], worker.housekeeper, reporter["pid"]):
        os.kill(process, signal.SIGKILL)
    for event in ("poller.started", "housekeeper.started", "reporter.started"):
        worker.wait_event(event, count=2)
    project.client.schedule("run", "afterwards")
    project.wait_gone("afterwards")
    wait_value(worker, 1, "pgsched_executions_total", task="run", outcome="succeeded")
    assert not worker.events("database.lost")


def test_an_older_worker_starts_beside_a_newer_one_and_both_work(
    project: Project, start: Start, begin: Begin, newer: Release, next_version: Project
) -> None:
    """A host fails in mid-deploy, and its old workers move to another. Without `Works with` they refuse."""
    assert newer.run("migrate", "--dsn", project.conninfo).returncode == 0
    tasks(next_version)
    next_version.release = newer.folder
    new_worker = begin(next_version)
    new_worker.wait_ready()
    start()
    wait_both_run(project)


def test_an_older_release_has_nothing_to_migrate(
    project: Project, newer: Release, tmp_path: Path
) -> None:
    """Its init container must not fail."""
    assert newer.run("migrate", "--dsn", project.conninfo).returncode == 0
    older = Release(tmp_path / "older")
    for arguments in (["migrate"], ["migrate", "--check"]):
        assert older.run(*arguments, "--dsn", project.conninfo).returncode == 0


def test_each_refuses_what_it_can_not_work_with(
    project: Project, begin: Begin, newer: Release, tmp_path: Path
) -> None:
    """The newer one before its migration, the older one after a migration that doesn't say it may go on."""
    project.release = newer.folder
    too_old = begin(project)
    assert too_old.wait_exit() == 75
    assert "too old" in too_old.lines[-1]
    breaking = Release(tmp_path / "breaking", ADDITIVE, BREAKING)
    assert breaking.run("migrate", "--dsn", project.conninfo).returncode == 0
    project.release = None
    too_new = begin(project)
    assert too_new.wait_exit() == 75
    assert "too new" in too_new.lines[-1]


def test_each_version_runs_what_it_knows_and_tells_of_what_nobody_runs(
    project: Project, start: Start, begin: Begin, next_version: Project
) -> None:
    ago = datetime.now(UTC) - timedelta(minutes=2)
    project.client.schedule("renamed", "a", at=ago)
    project.client.schedule("of-another-app", "a")  # just due: somebody may yet run it
    tasks(next_version)
    new_worker = begin(next_version)
    new_worker.wait_ready()
    old_worker = start()
    wait_both_run(project)
    for worker in (old_worker, new_worker):
        worker.wait_event("task.unknown", task="renamed")
        assert len(worker.events("task.unknown")) == 1
    assert project.row("a") is not None


def wait_both_run(project: Project) -> None:
    """What both versions know, and what only the newer one does."""
    for task in ("run", "added"):
        project.client.schedule_many([(task, str(n)) for n in range(50)])
    wait_until(
        lambda: not project.sql("select from scheduled_tasks where task_name in ('run', 'added')"),
        describe="both to be run",
    )


def test_a_recurring_task_is_left_where_it_is_whatever_the_next_version_says(
    project: Project, begin: Begin, next_version: Project
) -> None:
    """Its schedule has changed: each version that starts would move it, to and fro, and what a person put off with it.
    It is told, and the next run moves it on by the schedule of whoever runs it.
    """
    later = datetime.now(UTC) + timedelta(days=30)
    project.client.schedule("report", "default", at=later)
    tasks(next_version)
    worker = begin(next_version)
    worker.wait_ready()
    [told] = worker.events("task.due_later", task="report")
    assert datetime.fromisoformat(told["at"]) == later
    assert told["by_schedule"] < told["at"]
    assert all(told[key].endswith("Z") for key in ("timestamp", "at", "by_schedule"))
    assert is_due_at(project, later)
    project.client.reschedule("report", "default", at=datetime.now(UTC))
    soon = datetime.now(UTC) + timedelta(hours=1, minutes=1)
    wait_until(lambda: is_due_before(project, soon), describe="it to go by the new schedule")


def is_due_at(project: Project, at: datetime) -> bool:
    found = project.client.get("report", "default")
    return found is not None and found.execution_time == at


def is_due_before(project: Project, at: datetime) -> bool:
    found = project.client.get("report", "default")
    now = datetime.now(UTC)
    return found is not None and not found.picked and now < found.execution_time < at


def test_the_row_of_a_recurring_task_that_is_gone_stays(project: Project, start: Start) -> None:
    ago = datetime.now(UTC) - timedelta(days=1)
    project.client.schedule("removed", "default", at=ago)
    worker = start()
    worker.wait_event("task.unknown", task="removed")
    row = project.row("default")
    with psycopg.connect(project.conninfo) as connection:
        found = connection.execute(
            "select picked, execution_time from scheduled_tasks where task_name = 'removed'"
        ).fetchone()
    assert row is not None
    assert found == (False, ago)
