"""What holds when processes are killed, stopped, or told to end. Real forks, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from pgsched import FailedExecution, NewExecution
from pgsched.worker.process import is_moving
from tests.waiting import wait_until
from tests.worker.running import Project, Worker, cpu_s, is_there

Start = Callable[..., Worker]


def test_sigterm_lets_running_tasks_finish_and_exits_0(project: Project, start: Start) -> None:
    worker = start()
    project.client.schedule("sleep", "plain", 1)
    project.client.schedule("sleep-async", "async", 1)
    project.wait_entries("started", count=2)
    assert worker.stop() == 0
    assert {entry.instance for entry in project.diary("ended")} == {"plain", "async"}
    assert project.row("plain") is None
    assert project.row("async") is None
    assert not [pid for pid in (*worker.pollers, worker.housekeeper) if is_there(pid)]


def test_a_task_can_see_that_its_worker_is_shutting_down(project: Project, start: Start) -> None:
    worker = start()
    project.begin("until-shutdown", "watcher")
    assert worker.stop() == 0
    assert project.diary("noticed", "watcher")
    assert project.row("watcher") is None


def test_what_outlasts_the_shutdown_timeout_is_given_back_without_cost(
    project: Project, start: Start
) -> None:
    worker = start(shutdown_timeout="1s")
    project.client.schedule("sleep", "plain", 60)
    project.client.schedule("sleep-async", "async", 60)
    project.wait_entries("started", count=2)
    assert worker.stop() == 0
    assert project.diary("cancelled", "async")
    for instance in ("plain", "async"):
        row = project.row(instance)
        assert row is not None
        assert (row["picked"], row["picked_by"], row["last_heartbeat"]) == (False, None, None)
        assert (row["consecutive_failures"], row["crashes"], row["last_failure"]) == (0, 0, None)


def test_what_has_not_started_is_given_back_at_the_first_signal(
    project: Project, start: Start
) -> None:
    worker = start(processes=1, concurrency=1, batch_size=10)
    for number in range(20):  # quick runs first, so that the poller dares to hold some ahead
        project.client.schedule("run", f"quick-{number}")
    project.wait_entries("ran", count=20)
    project.sql(
        "insert into scheduled_tasks (task_name, task_instance, task_data, priority)"
        " select 'sleep', 's' || n, '2', -n from generate_series(0, 5) as n"
    )
    project.client.schedule("run", "wake-up", priority=100)
    project.wait_entries("started", "s0")
    worker.signal(signal.SIGTERM)
    wait_until(
        lambda: (
            not project.sql("select 1 from scheduled_tasks where picked and task_instance <> 's0'")
        )
    )
    assert not project.diary("ended", "s0")
    assert worker.wait_exit() == 0
    assert len(project.diary("started")) == 1


def test_a_second_signal_gives_back_at_once_and_exits_1(project: Project, start: Start) -> None:
    worker = start()
    project.client.schedule("sleep", "plain", 60)
    project.client.schedule("block-the-loop", "blocker", 60)
    project.wait_entries("started", count=2)
    worker.signal(signal.SIGTERM)
    worker.wait_event("worker.stopping", at_once=False)
    time.sleep(0.2)  # signals closer together than 0.1 s are one request
    worker.signal(signal.SIGTERM)
    assert worker.wait_exit(timeout=10) == 1
    for instance in ("plain", "blocker"):
        row = project.row(instance)
        assert row is not None
        assert (row["picked"], row["crashes"], row["consecutive_failures"]) == (False, 0, 0)


def test_two_signals_in_the_same_moment_are_one_request(project: Project, start: Start) -> None:
    worker = start()
    project.begin("sleep", "plain", 1)
    worker.signal(signal.SIGTERM)
    os.killpg(worker.pid, signal.SIGTERM)
    assert worker.wait_exit() == 0
    assert project.diary("ended", "plain")


def test_ctrl_c_to_the_whole_group_drains_too(project: Project, start: Start) -> None:
    worker = start()
    project.begin("sleep", "plain", 1)
    os.killpg(worker.pid, signal.SIGINT)
    assert worker.wait_exit() == 0
    assert project.diary("ended", "plain")


def test_a_killed_poller_is_replaced_and_its_executions_run_again_at_once(
    project: Project, start: Start
) -> None:
    """Heartbeats would be missed only after an hour here: it is the supervisor who knows."""
    worker = start(heartbeat_timeout="1h", heartbeat_interval="10m")
    entry = project.begin("sleep", "victim", 2)
    killed_at = time.time()
    os.kill(entry.pid, signal.SIGKILL)
    _, again = project.wait_entries("started", "victim", count=2)
    assert again.at - killed_at < 2
    assert again.pid != entry.pid
    [event] = worker.wait_event("execution.recovered", instance="victim")
    assert event["crashes"] == 1
    worker.wait_event("poller.started", count=3)
    project.wait_gone("victim")


def test_a_task_that_kills_its_process_becomes_a_failed_execution(
    project: Project, start: Start
) -> None:
    project.client.schedule("kill-own-process", "poison", {"a": 1})
    worker = start(max_crashes=3)
    worker.wait_event("execution.buried", instance="poison")
    [execution] = project.client.list(task="kill-own-process", state="failed")
    assert isinstance(execution, FailedExecution)
    assert (execution.crashes, execution.task_data) == (3, {"a": 1})
    assert execution.error.endswith("by SIGKILL")
    # Once more where something else ran in the process that it killed first: then either may have done it.
    assert len(project.diary("started", "poison")) in {3, 4}
    project.client.schedule("run", "afterwards")
    project.wait_gone("afterwards")


def test_a_killed_housekeeper_is_replaced_and_beats_go_on(project: Project, start: Start) -> None:
    worker = start(heartbeat_timeout="2s", heartbeat_interval="200ms")
    project.begin("sleep", "long", 4)
    first = worker.housekeeper
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: worker.housekeeper != first)
    project.wait_gone("long")
    assert len(project.diary("started", "long")) == 1
    assert not worker.events("execution.recovered")


def test_when_the_supervisor_is_killed_running_tasks_finish_and_nothing_stays(
    project: Project, start: Start
) -> None:
    worker = start()
    project.begin("sleep", "orphan", 2)
    processes = [*worker.pollers, worker.housekeeper]
    worker.signal(signal.SIGKILL)
    project.wait_entries("ended", "orphan")
    wait_until(lambda: not [pid for pid in processes if is_there(pid)], describe="the forks to end")
    assert project.row("orphan") is None
    assert len(project.diary("started", "orphan")) == 1


def test_deaths_of_pollers_that_have_run_much_cost_no_housekeeper(
    project: Project, start: Start
) -> None:
    """Told together, what two of these had run doesn't fit into a pipe: each death, and each start, killed it."""
    worker = start(processes=1, concurrency=2000)
    project.sql(
        "select setval(pg_get_serial_sequence('scheduled_tasks', 'seq'), 1000000000000000000)"
    )
    for deaths in range(1, 4):
        project.client.schedule_many([("nothing", f"{deaths}-{n}") for n in range(3000)])
        wait_until(lambda: not project.client.list(task="nothing", limit=1), describe="their runs")
        os.kill(worker.pollers[0], signal.SIGKILL)
        worker.wait_event("poller.started", count=1 + deaths)
    project.client.schedule("run", "afterwards")
    project.wait_gone("afterwards")
    assert not worker.events("housekeeper.died")


def test_a_housekeeper_that_outlives_its_supervisor_sleeps_while_pollers_drain(
    project: Project, start: Start
) -> None:
    """What they hold is due to be handed on, and can't be while they are there: it looked again and again."""
    worker = start(processes=1, shutdown_timeout="1m")
    project.begin("sleep", "orphan", 5)
    began, used_s = time.monotonic(), cpu_s(worker.housekeeper)
    worker.signal(signal.SIGKILL)
    project.wait_entries("ended", "orphan")
    assert (cpu_s(worker.housekeeper) - used_s) / (time.monotonic() - began) < 0.1


def test_a_frozen_poller_is_recovered_and_its_late_result_changes_nothing(
    project: Project, start: Start
) -> None:
    """Without `version` and `picked_by` in complete_delete.sql the zombie deletes the row under the second run."""
    worker = start(heartbeat_timeout="2s", heartbeat_interval="300ms")
    entry = project.begin("sleep", "zombie", 4)
    os.kill(entry.pid, signal.SIGSTOP)
    _, again = project.wait_entries("started", "zombie", count=2)
    assert again.token == entry.token + 2
    os.kill(entry.pid, signal.SIGCONT)
    [event] = worker.wait_event("completion.stale", instance="zombie")
    assert event["held_version"] == entry.token
    project.wait_entries("ended", "zombie", count=2)
    project.wait_gone("zombie")
    assert len(worker.events("execution.completed", instance="zombie")) == 1


def test_a_poller_that_wakes_up_does_not_start_what_others_have_by_now(
    project: Project, start: Start
) -> None:
    """What waits in it for a slot when it is frozen. Without the bound in `Executor._may_start` they run once more."""
    frozen = start(processes=1, concurrency=1, heartbeat_timeout="2s", heartbeat_interval="300ms")
    project.client.schedule_many([("run", f"before-{n}") for n in range(300)])
    # Quick tasks: it holds more than it has slots.
    wait_until(lambda: not project.client.list(task="run", limit=1), describe="all to be written")
    waiting = [NewExecution("run", f"waiting-{n}") for n in range(20)]
    project.client.schedule_many([NewExecution("freeze", "a", 2), *waiting])
    [entry] = project.wait_entries("started", "a")
    wait_until(lambda: not is_moving(entry.pid), describe="it to be frozen")
    [(held,)] = project.sql("select count(*) from scheduled_tasks where picked")
    assert held > 1
    start(processes=1, heartbeat_timeout="2s", heartbeat_interval="300ms")
    project.wait_entries("ran", count=320)
    project.wait_gone("a")
    os.kill(entry.pid, signal.SIGCONT)
    frozen.wait_event("completion.stale", count=held)
    assert len(project.diary("ran")) == 320


def test_a_killed_worker_is_recovered_by_another_after_the_timeout(
    project: Project, start: Start
) -> None:
    first = start(heartbeat_timeout="2s", heartbeat_interval="300ms")
    entry = project.begin("sleep", "victim", 3)
    second = start(heartbeat_timeout="2s", heartbeat_interval="300ms")
    first.kill_everything()
    _, again = project.wait_entries("started", "victim", count=2)
    assert again.at - entry.at > 1
    assert second.events("execution.recovered", instance="victim")
    project.wait_gone("victim")


def test_rolling_restarts_under_load_lose_and_double_nothing(
    project: Project, start: Start
) -> None:
    workers = [start(), start()]
    scheduled = 0
    for _ in range(4):
        many = [
            ("run" if n % 2 else "run-async", f"n{n}") for n in range(scheduled, scheduled + 1000)
        ]
        scheduled += project.client.schedule_many(many)
        oldest = workers.pop(0)
        oldest.signal(signal.SIGTERM)
        workers.append(start())
        assert oldest.wait_exit() == 0
    wait_until(
        lambda: not project.client.list(task="run") and not project.client.list(task="run-async"),
        timeout=60,
    )
    ran = [entry.instance for entry in project.diary("ran")]
    assert len(ran) == len(set(ran)) == scheduled == 4000


def test_pollers_that_die_at_every_start_end_the_worker(project: Project) -> None:
    (project.folder / "dies.py").write_text(
        "import os\nfrom pgsched import one_time\n@one_time('x')\ndef x(): ...\n"
        "os.register_at_fork(after_in_child=lambda: _die())\n"
        "def _die():\n"
        "    import inspect\n"
        "    if any(frame.function == '_start_poller' for frame in inspect.stack()): os._exit(9)\n"
    )
    config = project.folder / "dies.yaml"
    config.write_text(
        f'database: {{dsn: "{project.conninfo}"}}\ntasks: {{modules: [dies]}}\nlogging: {{format: json}}\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "pgsched", "worker", "--config", config],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "worker.gave_up" in done.stderr


@pytest.mark.parametrize("how", ["drain", "at once"])
def test_a_poller_told_to_drain_by_hand_is_replaced(
    project: Project, start: Start, how: str
) -> None:
    worker = start()
    entry = project.begin("sleep", "long", 1)
    os.kill(entry.pid, signal.SIGTERM if how == "drain" else signal.SIGQUIT)
    worker.wait_event("poller.started", count=3)
    project.wait_gone("long")
    assert len(project.diary("started", "long")) == (1 if how == "drain" else 2)
    assert not worker.events("poller.died")


def test_a_process_that_a_task_forks_dies_of_sigterm_like_any_other(
    project: Project, start: Start
) -> None:
    """Without the reset in process.py it inherits the poller's handler, which only takes note."""
    worker = start()
    project.client.schedule("start-a-process", "parent")
    project.wait_entries(f"child--{int(signal.SIGTERM)}", "parent")
    project.wait_gone("parent")
    assert worker.stop() == 0


def test_a_pick_that_commits_after_its_poller_was_killed_is_handed_on_too(
    project: Project, start: Start
) -> None:
    """The server goes on with a statement whose client is gone. With one look alone the row stays picked for ever."""
    worker = start(processes=1, heartbeat_timeout="1h", heartbeat_interval="10m")
    project.sql(
        "create function slow_pick() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(0.7); return new; end $$"
    )
    project.sql(
        "create trigger slow_pick before update on scheduled_tasks for each row"
        " when (new.picked and not old.picked and old.version = 1 and new.task_name = 'run')"
        " execute function slow_pick()"
    )
    project.client.schedule("run", "picked-by-the-dead")
    wait_until(
        lambda: project.sql(
            "select 1 from pg_stat_activity where datname = current_database()"
            " and wait_event = 'PgSleep' and application_name like 'pgsched %%'"
        ),
        describe="the pick to be under way",
    )
    os.kill(worker.pollers[0], signal.SIGKILL)
    project.wait_entries("ran", "picked-by-the-dead")
    project.wait_gone("picked-by-the-dead")
