"""SIGHUP: another generation of the worker, with the code and config of now; nothing is lost or interrupted."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgsched.worker.executor import CANCEL_GRACE_S
from pgsched.worker.housekeeper import SETTLING_S
from pgsched.worker.supervisor import SAME_REQUEST_S
from tests.waiting import wait_until
from tests.worker.running import Project, Worker, is_there
from tests.worker.scraping import wait_value

Start = Callable[..., Worker]

SHUTDOWN_S = 1

TASKS = Path(__file__).with_name("versioned_tasks.py")


@pytest.fixture
def project(tmp_path: Path, database: str) -> Generator[Project]:
    """A folder whose task module says which version it is."""
    settings = {"processes": 2, "concurrency": 5, "shutdown_timeout": f"{SHUTDOWN_S}s"}
    project = Project(tmp_path, database, tasks=TASKS, settings=settings)
    yield project
    project.client.close()


def rewrite(project: Project, version: str, *, more: str = "") -> None:
    """Of another size each time: Python knows old byte code by time and size of the source."""
    text = TASKS.read_text().replace('VERSION = "old"', f'VERSION = "{version}"')
    (project.folder / "tasks_of_tests.py").write_text(f"{text}\n{more}\n")


def configure(project: Project, section: str, **changes: object) -> None:
    file = project.folder / "pgsched-0.yaml"
    settings = json.loads(file.read_text())
    settings[section] |= changes
    file.write_text(json.dumps(settings))


def reload(worker: Worker) -> int:
    """The supervisor of the new generation."""
    before = len(worker.events("worker.reloaded"))
    worker.signal(signal.SIGHUP)
    pid: int = worker.wait_event("worker.reloaded", count=before + 1, timeout=30)[-1]["pid"]
    return pid


def refusal(worker: Worker) -> str:
    before = len(worker.events("worker.reload_refused"))
    worker.signal(signal.SIGHUP)
    found = worker.wait_event("worker.reload_refused", count=before + 1, timeout=30)
    return str(found[-1]["error"])


def wait_ran(project: Project, instance: str) -> str:
    """The version that ran it."""
    project.client.schedule("work", instance, 0)
    project.wait_entries("ended", instance)
    [started] = [each for each in project.diary(instance=instance) if each.what != "ended"]
    return started.what.removesuffix("-started")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_none_left(pids: list[int]) -> None:
    wait_until(lambda: not any(map(is_there, pids)), describe=f"{pids} to be gone")


def test_a_reload_under_load_loses_and_interrupts_nothing(project: Project, start: Start) -> None:
    """What runs takes longer than the shutdown timeout. Proven by telling pollers to drain instead of to retire: what
    took long was started twice.
    """
    worker = start()
    project.client.schedule_many([("work", f"before-{n}", 0.01) for n in range(200)])
    project.client.schedule_many([("hold", f"long-{n}", None) for n in range(4)])
    project.client.schedule("hold-apart", "long-apart")
    for name in (*(f"long-{n}" for n in range(4)), "long-apart"):
        project.wait_entries("old-started", name)
    rewrite(project, "new")
    configure(project, "worker", concurrency=7)
    worker.signal(signal.SIGHUP)
    for n in range(200):
        project.client.schedule("work", f"meanwhile-{n}", 0.01)
    worker.wait_event("worker.reloaded", timeout=30)
    project.client.schedule_many([("work", f"after-{n}", 0.01) for n in range(50)])
    patience_s = SHUTDOWN_S + CANCEL_GRACE_S + 1  # any that had been told to stop would have
    over_at = time.monotonic() + patience_s
    assert wait_ran(project, "last") == "new"
    wait_until(lambda: time.monotonic() > over_at, describe="the shutdown timeout")
    (project.folder / "diary.go").touch()
    wait_until(
        lambda: project.sql("select count(*) from scheduled_tasks") == [(0,)],
        describe="all to be completed",
    )
    _, second = worker.events("worker.started")
    assert second["pid"] != worker.pid
    slots = project.sql("select slots from scheduled_tasks_workers where pid = %s", second["pid"])
    assert slots == [(14,)]
    worker.wait_event("poller.stopped", count=2)
    assert worker.stop() == 0
    entries = Counter((each.instance, each.what == "ended") for each in project.diary())
    assert len(entries) == 2 * (200 + 5 + 200 + 50 + 1)
    assert set(entries.values()) == {1}
    unwanted = ("execution.recovered", "completion.stale", "poller.died", "poller.killed")
    assert [worker.events(name) for name in unwanted] == [[], [], [], []]


def test_a_shorter_heartbeat_timeout_is_not_for_what_runs_already(
    project: Project, start: Start
) -> None:
    """Who picked it beats as rarely as before. Without the timeout that a worker is judged by it ran twice at once."""
    worker = start(processes=1, heartbeat_timeout="60s", heartbeat_interval="20s")
    project.client.schedule("hold", "long")
    project.wait_entries("old-started", "long")
    configure(project, "worker", heartbeat_timeout="2s", heartbeat_interval="500ms")
    worker.signal(signal.SIGHUP)
    worker.wait_event("worker.reloaded", timeout=30)
    over_at = time.monotonic() + SETTLING_S + 2  # by then it has looked for the dead several times
    wait_until(lambda: time.monotonic() > over_at, describe="sweeps")
    (project.folder / "diary.go").touch()
    project.wait_entries("ended", "long")
    assert worker.stop() == 0
    assert worker.events("execution.recovered") == []
    assert len(project.diary(instance="long")) == 2


def test_what_can_not_work_is_refused_and_the_old_goes_on(project: Project, start: Start) -> None:
    worker = start(processes=1)
    rewrite(project, "broken", more="import no_such_module")
    assert "no_such_module" in refusal(worker)
    rewrite(project, "deadly", more="os._exit(3)")
    assert refusal(worker) == "it ended before it was ready (exit 3)"
    rewrite(project, "right-again")
    config = project.folder / "pgsched-0.yaml"
    right = config.read_text()
    config.write_text("worker: [")
    assert str(config) in refusal(worker)
    config.write_text(right)
    configure(project, "database", dsn="host=127.0.0.1 port=1 dbname=nowhere")
    assert "port 1 failed" in refusal(worker)
    assert wait_ran(project, "with-the-old-one") == "old"
    config.write_text(right)
    reload(worker)
    assert wait_ran(project, "with-the-new-one") == "right-again"
    assert not worker.events("supervisor.died")  # nobody's pollers drain, and the worker goes on
    assert not [line for line in worker.lines if not line.startswith("{")]


def test_a_refused_reload_that_was_asked_of_the_whole_group_changes_nothing(
    project: Project, start: Start
) -> None:
    """As `systemctl kill -s HUP` does. Where pollers heed it, too, they take nothing on while what they run lasts."""
    worker = start(processes=1)
    project.client.schedule("hold", "long")
    project.wait_entries("old-started", "long")
    rewrite(project, "broken", more="import no_such_module")
    os.killpg(worker.pid, signal.SIGHUP)
    worker.wait_event("worker.reload_refused")
    assert wait_ran(project, "meanwhile") == "old"
    assert not project.diary("ended", "long")


def test_who_samples_goes_on_after_a_reload(project: Project, start: Start) -> None:
    """A reporter that is killed keeps the lease, for 45 s."""
    project.monitoring = {"port": 0}
    worker = start(processes=1)
    wait_value(worker, 0, "pgsched_queue_executions", state="failed")
    reload(worker)
    worker.wait_event("reporter.started", count=2)
    wait_value(worker, 0, "pgsched_queue_executions", state="failed")


def test_a_generation_that_is_never_ready_is_given_up(project: Project, start: Start) -> None:
    project.module = "tests.worker.hurried_reload"
    worker = start(processes=1)
    rewrite(project, "slow", more="wait_for_leave()")
    former = children(worker.pid)
    assert refusal(worker) == "it was not ready within 3 s"
    wait_until(lambda: children(worker.pid) == former, describe="the new generation to be gone")
    assert wait_ran(project, "with-the-old-one") == "old"


RECURRING = """
from pgsched import Every, recurring
@recurring("of-the-refused", schedule=Every(hours=1))
def of_the_refused() -> None: ...
"""


def test_what_was_refused_schedules_nothing(project: Project, start: Start) -> None:
    """Its check of the database outlives it, at a lock: it went on once that was gone."""
    project.module = "tests.worker.hurried_reload"
    worker = start(processes=1)
    rewrite(project, "of another schedule", more=RECURRING)
    with psycopg.connect(project.conninfo) as locking:
        locking.execute("lock table scheduled_tasks in access exclusive mode")
        worker.signal(signal.SIGHUP)
        waiting = (
            "select pid from pg_stat_activity"
            " where application_name = 'pgsched' and wait_event_type = 'Lock'"
        )
        [(session,)] = wait_until(lambda: project.sql(waiting), describe="it to wait")
        refused = worker.wait_event("worker.reload_refused")[-1]["error"]
        assert refused == "it was not ready within 3 s"
    left = "select 1 from pg_stat_activity where pid = %s"
    wait_until(lambda: not project.sql(left, session), describe="its session to end")
    assert not project.sql("select 1 from scheduled_tasks where task_name = 'of-the-refused'")


def test_a_reload_that_waits_for_a_lock_is_refused_for_that(project: Project, start: Start) -> None:
    """Without a limit it waits until its time is over, and nobody hears for what."""
    project.module = "tests.worker.impatient_reload"
    worker = start(processes=1)
    rewrite(project, "of another schedule", more=RECURRING)
    with psycopg.connect(project.conninfo) as locking:
        locking.execute("lock table scheduled_tasks in access exclusive mode")
        assert "somebody has locked table 'scheduled_tasks'" in refusal(worker)
    reload(worker)


def test_reloads_and_a_stop_during_a_reload(project: Project, start: Start) -> None:
    """The second reload comes after the first; a stop doesn't wait for one."""
    worker = start(processes=1)
    rewrite(project, "slow", more="wait_for_leave()")
    worker.signal(signal.SIGHUP)
    importing = project.folder / "diary.waiting"
    wait_until(importing.exists, describe="the import")
    rewrite(project, "slow-no-more")
    worker.signal(signal.SIGHUP)
    (project.folder / "diary.go").touch()
    first, second = (each["pid"] for each in worker.wait_event("worker.reloaded", count=2))
    worker.wait_event("worker.stopped", pid=first)
    assert wait_ran(project, "with-the-last-one") == "slow-no-more"
    importing.unlink()
    (project.folder / "diary.go").unlink()
    rewrite(project, "slow-again", more="wait_for_leave()")
    worker.signal(signal.SIGHUP)
    wait_until(importing.exists, describe="the import")
    pids = children(worker.pid)
    assert second in pids
    assert worker.stop() == 0
    wait_none_left(pids)


def test_a_stop_waits_for_a_generation_that_has_begun_unheard(
    project: Project, start: Start
) -> None:
    """Its supervisor was killed, as one that had not spoken yet: its pollers outlived the worker."""
    worker = start(processes=1, shutdown_timeout="1m")
    rewrite(project, "slow", more="wait_for_leave()")
    worker.signal(signal.SIGHUP)
    wait_until((project.folder / "diary.waiting").exists, describe="the import")
    worker.signal(signal.SIGSTOP)
    (project.folder / "diary.go").touch()
    supervisor = worker.wait_event("worker.started", count=2)[-1]["pid"]
    worker.wait_event("poller.started", count=2)
    family = [supervisor, *children(supervisor)]
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGCONT)
    assert worker.wait_exit() == 0
    assert not any(map(is_there, family))
    assert len(worker.events("worker.stopped")) == 2


def test_a_second_signal_ends_all_generations_at_once(project: Project, start: Start) -> None:
    worker = start(processes=1, shutdown_timeout="1m")
    project.client.schedule("work", "in-the-old-one", 60)
    project.wait_entries("old-started")
    reload(worker)
    project.client.schedule("work", "in-the-new-one", 60)
    project.wait_entries("old-started", count=2)
    worker.signal(signal.SIGTERM)
    worker.wait_event("worker.stopping", count=2)  # one of each
    asked_at = time.monotonic()
    wait_until(lambda: time.monotonic() > asked_at + SAME_REQUEST_S, describe="another request")
    worker.signal(signal.SIGTERM)
    assert worker.wait_exit() == 1
    assert [row["picked"] for row in _rows(project)] == [False, False]


def _rows(project: Project) -> list[dict[str, Any]]:
    found = [project.row("in-the-old-one"), project.row("in-the-new-one")]
    return [row for row in found if row is not None]


@pytest.mark.parametrize("who", ["main", "supervisor"])
def test_nothing_outlives_a_killed_supervisor(project: Project, start: Start, who: str) -> None:
    """After a reload there are two of them: the worker ends with either, and what runs ends in its time."""
    worker = start(processes=1)
    supervisor = reload(worker)
    worker.wait_event("poller.stopped")
    project.client.schedule("work", "1", 0.5)
    project.wait_entries("old-started")
    family = [*children(worker.pid), *children(supervisor)]
    victim = worker.pid if who == "main" else supervisor
    os.kill(victim, signal.SIGKILL)
    assert worker.wait_exit() == (-signal.SIGKILL if who == "main" else 1)
    project.wait_entries("ended")
    wait_none_left(family)
    assert project.row("1") is None
    told = "worker.orphaned" if who == "main" else "supervisor.died"
    assert len(worker.events(told)) == 1
