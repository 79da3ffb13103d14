"""One screen for a person woken at night, one document for programs."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgsched import Client
from tests.waiting import wait_until
from tests.worker.running import Project

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from tests.cli.conftest import Answer, Command
    from tests.worker.running import Worker


TASKS = """
from pgsched import Every, one_time, recurring

@one_time("send")
def send(): ...

@recurring("tidy", schedule=Every(hours=1))
def tidy(): ...
"""


@pytest.fixture
def project(tmp_path: Path, database: str) -> Generator[Project]:
    folder = tmp_path / "project"
    folder.mkdir()
    tasks = tmp_path / "healthy.py"
    tasks.write_text(TASKS)
    project = Project(folder, database, tasks=tasks)
    yield project
    project.client.close()


def execute(database: str, statement: str, *parameters: object) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(statement.encode(), parameters)


WORKER = """
insert into scheduled_tasks_workers (worker, host, pid, version, started_at, seen_at, seen_every, state, pollers, slots,
  busy, progressed_at, clock_offset, hears_notifications, tasks, recurring)
select worker, 'host', 7, version, now() - interval '1 h', now() - silence, '30 s', state, 2, 20, busy,
  now() - silence - stalled, '0', true, '{send,cleanup}', '{cleanup}'
from (values (%s, %s, %s::interval, %s, %s::int, %s::interval))
  as given (worker, version, silence, state, busy, stalled)
"""


def a_worker(
    database: str,
    name: str,
    *,
    version: str = "1.0",
    silence: str = "1 s",
    state: str = "running",
    busy: int = 0,
    stalled: str = "1 s",
) -> None:
    execute(database, WORKER, name, version, silence, state, busy, stalled)


def due(database: str, task: str, instance: str, since: str) -> None:
    execute(
        database,
        "insert into scheduled_tasks (task_name, task_instance, execution_time)"
        " values (%s, %s, now() - %s::interval)",
        task,
        instance,
        since,
    )


def problems(on_database: Command) -> dict[str, str]:
    """What is said to be wrong, by its kind, and how bad it is."""
    document = on_database("status", "--json").json
    return {each["kind"]: each["severity"] for each in document["problems"]}


def test_an_empty_database_lacks_only_a_worker(on_database: Command) -> None:
    answer = on_database("status")
    assert answer.status == 0, answer.err
    assert "warning  no worker is alive" in answer.out
    assert answer.out.count("\n") < 10


def test_a_healthy_worker_has_nothing_wrong(
    on_database: Command, project: Project, start: Callable[..., Worker]
) -> None:
    start(id="w")
    wait_until(
        lambda: "w" in [seen["worker"] for seen in on_database("status", "--json").json["workers"]],
        describe="the worker to be here",
    )
    document = on_database("status", "--json").json
    assert document["problems"] == []
    [worker] = document["workers"]
    assert (worker["is_alive"], worker["state"], worker["pollers"]) == (True, "running", 2)
    assert [each["task"] for each in document["recurring"]] == ["tidy"]
    answer = on_database("status")
    assert "nothing is wrong" in answer.out
    assert "workers alive: 1  pollers: 2  slots busy: 0/20" in answer.out


def test_a_missing_schema_is_told(command: Command, empty_database: str) -> None:
    answer = command("status", "--dsn", empty_database)
    assert answer.status == 75
    assert "run `pgsched migrate`" in answer.err
    assert answer.err.count("\n") == 1


def test_what_is_wrong_comes_first_and_worst(on_database: Command, database: str) -> None:
    due(database, "send", "a", "12 min 30 s")
    assert problems(on_database) == {"no-worker": "error"}
    answer = on_database("status")
    told = answer.out.splitlines()[1]
    assert told.startswith("error    no worker is alive, but due: 1 execution, the oldest for 12m3")

    a_worker(database, "gone", silence="10 min")
    assert problems(on_database) == {"no-worker": "error", "worker-silent": "warning"}

    a_worker(database, "full", busy=20)
    due(database, "cleanup", "default", "2 min")
    due(database, "renamed", "a", "3 h")
    assert list(problems(on_database)) == [
        "backlog",
        "worker-silent",
        "task-unknown",
        "recurring-overdue",
    ]
    assert "all 20 slots are busy: add workers" in on_database("status").out

    a_worker(database, "stuck", version="2.0", stalled="1 min")
    execute(database, "delete from scheduled_tasks")
    assert problems(on_database) == {
        "poller-stalled": "error",
        "worker-silent": "warning",
        "recurring-missing": "warning",
        "version-skew": "warning",
    }


def test_silent_workers_do_not_hide_those_that_work_nor_those_that_hold_work(
    on_database: Command, database: str
) -> None:
    """Of pods that crash and are named anew each time there are fifty."""
    for number in range(50):
        a_worker(database, f"pod-{number:02}", silence=f"{number + 5} min")
    a_worker(database, "alive")
    a_worker(database, "zz-holder", silence="58 min")
    execute(
        database,
        "insert into scheduled_tasks (task_name, task_instance, picked, picked_by)"
        " select 'send', n::text, true, 'zz-holder/0-1f' from generate_series(1, 3) as n",
    )
    told = on_database("status").out
    rows = [line.split()[0] for line in told.splitlines() if "host" in line and " 7 " in line]
    assert rows == ["zz-holder", "alive", *(f"pod-{number:02}" for number in range(5))]
    assert "silent, holds 3" in told
    assert "… 45 more: --json" in told
    assert "50 workers went away without a word, or can't reach the database: pod-00 (5m" in told
    assert "zz-holder (58m" in told
    assert "in their name: 3 executions" in told
    document = on_database("status", "--json").json
    kinds = [each["kind"] for each in document["problems"]]
    assert kinds[:2] == ["worker-silent-holding", "worker-silent"]
    assert {seen["worker"]: seen["held"] for seen in document["workers"]}["zz-holder"] == 3
    assert len(document["workers"]) == 52


def test_all_workers_draining_is_told(on_database: Command, database: str) -> None:
    a_worker(database, "w", state="draining")
    assert "all-draining" in problems(on_database)


def test_what_fails_is_told_by_task(on_database: Command, database: str) -> None:
    a_worker(database, "w")
    due(database, "cleanup", "default", "-1 h")
    execute(
        database,
        "insert into scheduled_tasks (task_name, task_instance, execution_time, consecutive_failures, last_failure)"
        " select 'send', n::text, now() + interval '1 h', n, now() from generate_series(1, 3) as n",
    )
    execute(
        database,
        "insert into scheduled_tasks_failed (task_name, task_instance, execution_time, consecutive_failures, version,"
        " crashes, attempts, error) select 'charge', n::text, now(), 1, 2, 0, 1, 'Error: card' || chr(10) || n"
        " from generate_series(1, 2) as n",
    )
    document = on_database("status", "--json").json
    assert [each["kind"] for each in document["problems"]] == ["failing", "failed"]
    [failing] = document["failing"]
    assert (failing["task"], failing["executions"], failing["most_failures"]) == ("send", 3, 3)
    [failed] = document["failed"]
    assert (failed["task"], failed["executions"]) == ("charge", 2)
    assert failed["last_error"] == "Error: card\n2"
    queue = {name: document["queue"][name] for name in ("scheduled", "retrying", "failed")}
    assert queue == {"scheduled": 1, "retrying": 3, "failed": 2}
    assert "Error: card 2" in on_database("status").out


def test_the_document_has_its_shape(on_database: Command, database: str) -> None:
    a_worker(database, "w")
    due(database, "send", "a", "1 s")
    document = on_database("status", "--json").json
    assert list(document) == [
        "at",
        "problems",
        "queue",
        "workers",
        "due",
        "failing",
        "failed",
        "recurring",
    ]
    assert document["at"].endswith("Z")
    assert document["queue"].keys() == {
        "due",
        "scheduled",
        "running",
        "retrying",
        "failed",
        "at_least",
        "oldest_due_at",
    }
    [worker] = document["workers"]
    assert (worker["seen_every_s"], worker["clock_offset_s"]) == (30.0, 0.0)
    assert document["due"][0].keys() == {"task", "since", "is_known"}


def test_counts_end_somewhere(on_database: Command, database: str) -> None:
    execute(
        database,
        "insert into scheduled_tasks (task_name, task_instance, execution_time, priority)"
        " select 'send', n::text, now() + interval '1 h', n %% 3 from generate_series(1, %s) as n",
        100_010,
    )
    document = on_database("status", "--json").json
    assert document["queue"]["scheduled"] == 100_000
    assert document["queue"]["at_least"] == ["scheduled"]
    assert "100000+" in on_database("status").out


def test_names_that_move_a_terminal_are_shown_as_escapes(
    on_database: Command, database: str
) -> None:
    a_worker(database, "w\x1b[2J")
    due(database, "red\x1b[31m\nline", "a", "1 h")
    answer = on_database("status")
    assert "\x1b" not in answer.out
    assert r"red\x1b[31m\nline" in answer.out
    assert r"w\x1b[2J" in answer.out


def test_a_lock_is_not_waited_for_long(on_database: Command, database: str) -> None:
    with psycopg.connect(database) as locking:
        locking.execute("lock table scheduled_tasks in access exclusive mode")
        answer = on_database("status")
    assert answer.status == 75
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--watch"], "it needs a terminal"),
        (["--watch", "--json"], "it can't go with --watch"),
        (["--interval", "5s"], "it goes with --watch only"),
        (["--watch", "--interval", "2"], "'2' is no duration"),
        (["--watch", "--interval", "1ms"], "too short"),
    ],
)
def test_a_watch_that_can_not_be_is_refused(
    usage: Callable[..., Answer], options: list[str], told: str
) -> None:
    answer = usage("status", "--dsn", "postgresql://127.0.0.1:1/none", *options)
    assert answer.status == 2
    assert told in answer.err


class Terminal:
    """A command on a terminal of its own, and all that it has drawn there."""

    def __init__(self, *arguments: str, environment: dict[str, str]) -> None:
        self._end, inside = pty.openpty()
        termios.tcsetwinsize(inside, (40, 200))
        self.before: list[Any] = termios.tcgetattr(inside)
        self._inside = inside
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pgsched", *arguments],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            env=environment,
            start_new_session=True,
        )
        self._drawn = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                self._drawn += os.read(self._end, 65536)
            except OSError:
                return

    @property
    def drawn(self) -> str:
        return self._drawn.decode("utf-8", "replace")

    @property
    def modes(self) -> list[Any]:
        return termios.tcgetattr(self._inside)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._inside)
        self._reader.join(timeout=5)
        os.close(self._end)


@pytest.fixture
def terminal(on_database: Command) -> Generator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        environment = {**on_database.environment, "TERM": "xterm-256color"}
        opened.append(Terminal(*arguments, environment=environment))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_a_watch_goes_on_until_ctrl_c_and_leaves_the_terminal_as_it_was(
    terminal: Callable[..., Terminal], database: str
) -> None:
    """Through an outage too: it tells of it and goes on."""
    watch = terminal("status", "--watch", "--interval", "100ms")
    wait_until(lambda: "no worker is alive" in watch.drawn, describe="the first screen")
    with Client(database) as client:
        client.schedule("send", "a")
    wait_until(lambda: "but due: 1 execution" in watch.drawn, describe="what has changed")
    execute(
        database,
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
        " and pid <> pg_backend_pid() and application_name = 'pgsched'",
    )
    wait_until(lambda: "database not available" in watch.drawn, describe="the outage")
    drawn = len(watch.drawn)
    wait_until(lambda: "but due" in watch.drawn[drawn:], describe="it to be back")
    os.killpg(watch.process.pid, signal.SIGINT)
    assert watch.process.wait(timeout=10) == 130
    wait_until(lambda: "\x1b[?1049l" in watch.drawn, describe="the terminal's own screen")
    assert "\x1b[?25h" in watch.drawn.rpartition("\x1b[?25l")[2], "the cursor is shown again"
    assert "Traceback" not in watch.drawn
    assert watch.modes == watch.before


def test_a_watch_ends_at_once_where_there_is_no_database(
    terminal: Callable[..., Terminal],
) -> None:
    watch = terminal("status", "--watch", "--dsn", "postgresql://127.0.0.1:1/none")
    assert watch.process.wait(timeout=20) == 75
    assert "\x1b[?1049h" not in watch.drawn


def test_a_watch_that_is_terminated_restores_the_terminal(
    terminal: Callable[..., Terminal],
) -> None:
    watch = terminal("status", "--watch", "--interval", f"{timedelta(hours=1).total_seconds():g}s")
    wait_until(lambda: "no worker is alive" in watch.drawn, describe="the first screen")
    watch.process.terminate()
    assert watch.process.wait(timeout=10) == 143
    wait_until(lambda: "\x1b[?1049l" in watch.drawn, describe="the terminal's own screen")
