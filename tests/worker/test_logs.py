"""What a worker logs of the executions that it runs, and of what the tasks themselves log."""

from __future__ import annotations

import os
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from pgsched.cli.exits import ExitStatus
from pgsched.config.dsn import mask_of
from pgsched.domain.execution import Held
from pgsched.domain.mask import NO_MASK
from pgsched.domain.outcome import ERROR_LIMIT, error_line
from pgsched.worker.loop_thread import LoopThread
from pgsched.worker.run import TRACEBACK_LIMIT, failed_of
from tests.waiting import wait_until
from tests.worker.running import Project

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.worker.running import Worker

    Start = Callable[..., Worker]

TASKS = Path(__file__).with_name("logging_tasks.py")
HELD = Held("t", "first", None, datetime(2026, 1, 1, tzinfo=UTC), 1, None, 0, 0, None, None)
PASSWORD = "correct horse"


@pytest.fixture
def project(tmp_path: Path, database: str) -> Generator[Project]:
    project = Project(tmp_path, database, tasks=TASKS)
    yield project
    project.client.close()


def test_what_tasks_log_comes_with_the_execution_that_it_is_part_of(
    project: Project, start: Start
) -> None:
    """Without `bind_run` only what `context.log` tells is bound."""
    wanted = [("in-a-thread", "t"), ("alone", "p"), ("on-the-loop", "l-1"), ("on-the-loop", "l-2")]
    project.client.schedule_many([*wanted, ("fail", "f")])
    worker = start(processes=1, concurrency=1)
    worker.wait_event("execution.completed", count=4)
    worker.wait_event("execution.exhausted")
    for task, instance in wanted:
        bound = {"task": task, "instance": instance, "attempt": 1}
        [hello] = worker.events("hello you", **bound)
        assert (hello["level"], hello["logger"]) == ("info", "shop")
        assert hello.get("left") in {None, "nothing"}
    assert worker.events("hello you", instance="t")[0]["order"] == 17
    assert worker.events("bound", task="in-a-thread", instance="t", attempt=1)
    assert [each["instance"] for each in worker.events("from a thread")] == ["l-1", "l-2"]
    [told] = worker.events("told", task="fail", instance="f")
    assert told["exception"].startswith("Traceback")
    assert worker.events("asked", task="fail", instance="f")


def test_an_async_run_finds_nothing_of_the_one_that_has_started_it() -> None:
    """Without a context of its own it would find the variables that the task before it has set."""
    loop, left, found = LoopThread(), ContextVar("left", default="nothing"), SimpleQueue[str]()

    async def second() -> None:
        found.put(left.get())

    async def first() -> None:
        left.set("something")
        loop.start(HELD._replace(task_instance="second"), second())

    loop.call(lambda _: loop.start(HELD, first()), [])
    assert found.get(timeout=15) == "nothing"


def told_ahead_s(line: dict[str, Any]) -> float:
    """For how long after the line it will not be tried again, as far as clocks agree; both are told in one form."""
    assert line["retry"].endswith("Z")
    told, retry = (datetime.fromisoformat(line[key]) for key in ("timestamp", "retry"))
    return (retry - told).total_seconds()


def test_each_execution_has_one_line_that_says_how_it_went(project: Project, start: Start) -> None:
    project.client.schedule_many([
        (task, "x") for task in ("in-a-thread", "fail-once", "fail", "too-slow-alone", "crash")
    ])
    project.client.schedule("too-slow", "x")
    worker = start(max_crashes=2)
    worker.wait_event("execution.buried", task="crash")
    worker.wait_event("execution.exhausted", count=2)
    worker.wait_event("execution.completed", count=2)
    worker.wait_event("execution.failed", count=2)

    def line(event: str, **facts: Any) -> dict[str, Any]:
        [found] = worker.wait_event(event, **facts)
        return dict(found)

    well = line("execution.completed", task="in-a-thread")
    assert well.items() >= {"level": "info", "attempt": 1, "outcome": "succeeded"}.items()
    assert {"lateness_s", "duration_s"} <= well.keys()
    again = line("execution.failed", task="fail-once")
    assert again.items() >= {"level": "warning", "outcome": "failed"}.items()
    assert told_ahead_s(again) == pytest.approx(0, abs=2)
    assert again["exception"].startswith("Traceback")
    assert line("execution.completed", task="fail-once")["attempt"] == 2
    final = line("execution.exhausted", task="fail")
    assert (final["level"], final["outcome"]) == ("error", "given_up")
    late = line("execution.failed", task="too-slow-alone")
    assert late["error"] == "TimeoutError: it ran longer than its timeout of 0:00:00.100000"
    assert told_ahead_s(late) == pytest.approx(300, abs=2)
    assert "exception" not in late
    of_will = line("execution.exhausted", task="too-slow")
    assert (of_will["error"], of_will["outcome"]) == (late["error"], "given_up")
    assert line("execution.recovered", task="crash")["level"] == "warning"
    assert line("execution.buried", task="crash")["level"] == "error"


def test_failures_are_told_at_the_level_that_is_asked_for(project: Project, start: Start) -> None:
    project.logging = {"failures": "debug"}
    project.client.schedule_many([("fail-once", "x"), ("fail", "x")])
    worker = start()
    worker.wait_event("execution.completed", task="fail-once")
    worker.wait_event("execution.exhausted", task="fail")
    assert not worker.events("execution.failed")


def test_the_password_of_the_database_is_in_no_log_and_no_failed_execution(
    project: Project, start: Start
) -> None:
    """libpq's error quotes what it does not understand; the mistake is a missing colon."""
    dsn = f"postgresql://shop:{PASSWORD.replace(' ', '%20')}@db.example/shop"
    project.conninfo += f" password='{PASSWORD}'"
    project.client.schedule("mistype", "x", dsn)
    worker = start()
    worker.wait_event("execution.exhausted")
    [execution] = wait_until(lambda: project.client.list(state="failed"))
    [(error, trace)] = project.sql("select error, traceback from scheduled_tasks_failed")
    assert worker.events("connecting to postgresql://shop:***@db.example/shop", task="mistype")
    assert "shop:***@db.example" in error
    assert "shop:***@db.example" in trace
    told = "".join(worker.lines) + error + trace
    assert PASSWORD not in told
    assert PASSWORD.replace(" ", "%20") not in told
    assert execution.task_data == dsn  # what the user stores is the user's


def test_a_task_module_that_fails_tells_no_password(project: Project) -> None:
    project.conninfo += f" password='{PASSWORD}'"
    (project.folder / "tasks_of_tests.py").write_text(f"raise RuntimeError('no {PASSWORD}')")
    worker = project.worker(number=0)
    assert worker.wait_exit() == ExitStatus.CONFIG
    worker.kill_everything()
    [line] = worker.lines
    assert "RuntimeError: no ***" in line


def test_a_reader_who_reads_no_more_keeps_nobody_from_running_and_stopping(
    project: Project, tmp_path: Path
) -> None:
    """Of the pipe that nobody reads there is room for some 300 lines: pollers stood still then, the housekeeper beat no
    more once it told so, and what ran was run by others as well.
    """
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    project.place = lambda _, command: ["sh", "-c", f'exec "$0" "$@" 2>{pipe}', *command]
    reader = os.open(pipe, os.O_RDWR)
    project.client.schedule_many([("in-a-thread", f"{n}") for n in range(400)])
    worker = project.worker(number=0)
    wait_until(
        lambda: project.sql("select count(*) from scheduled_tasks") == [(0,)],
        describe="all to be run",
    )
    assert worker.stop() == 0
    worker.kill_everything()
    os.close(reader)


@pytest.mark.parametrize(
    ("dsn", "text", "shown"),
    [
        ("postgresql://u:sesame-street@h/d", "no sesame-street here", "no *** here"),
        ("postgresql://u:a%2Fb%2Fc%2Fd%2Fe@h/d", "a/b/c/d/e a%2Fb%2Fc%2Fd%2Fe", "*** ***"),
        ("host=h password='a/b #c d e' user=u", "a/b%20%23c%20d%20e a%2Fb+%23c+d+e", "*** ***"),
        ("host=h password='a/b #c d e' user=u", "a%2fb%20%23c%20d%20e a%2fb+%23c+d+e", "*** ***"),
        ("host=h password='it\\'s secret' user=u", "it's secret", "***"),
        ("postgresql://h/d?user=u&password=sesame-street", "[sesame-street]", "[***]"),
        ('host=h password=quo"ted-word', 'a "quo\\"ted-word"', 'a "***"'),
        ("postgresql://u:sesame#street@h/d", "no sesame#street here", "no *** here"),
        # Short, or in the rest of the DSN: hidden where a DSN has it, and words stay words.
        ("postgresql://u:pass@h/d", "passed by u:pass@h", "passed by u:***@h"),
        ("postgresql://postgres:postgres@h/d", "postgres: no", "postgres: no"),
        ("postgresql://postgres:postgres@h/d", "postgres:postgres@h", "postgres:***@h"),
        ("host=h password=pass", "passed by host=h password=pass", "passed by host=h password=***"),
        ("host=h password=pass", "user=u password=pass", "user=u password=***"),
        ("embedded", "embedded", "embedded"),
        ("postgresql://u@h/d", "postgresql://u@h/d", "postgresql://u@h/d"),
    ],
)
def test_a_password_is_hidden_in_the_forms_in_which_it_is_met(
    dsn: str, text: str, shown: str
) -> None:
    assert mask_of(dsn).hide(text) == shown
    assert NO_MASK.hide(text) == text


def test_no_half_of_a_password_is_left_where_a_text_is_cut() -> None:
    """Cut before it is hidden, an error kept half a password at its end, a traceback at its beginning."""
    password = "QJKVZXQJKV"
    mask = mask_of(f"postgresql://u:{password}@h/d")

    def is_told(text: str) -> bool:
        return bool(set(text) & set(password))

    for before in range(ERROR_LIMIT - 40, ERROR_LIMIT):
        for blank in ("x" * before, " " * (before + ERROR_LIMIT)):
            error = ValueError(f"{blank}{password}{'y' * ERROR_LIMIT * 2}")
            assert not is_told(error_line(error, mask).removeprefix("ValueError"))
    for after in range(TRACEBACK_LIMIT - 60, TRACEBACK_LIMIT + 5):
        failed = failed_of(ValueError(f"{'x' * 99}{password}{'y' * after}"), mask)
        assert not is_told(failed.traceback)
        assert len(failed.traceback) > TRACEBACK_LIMIT - len("postgresql://u:@h/d" + password)
    assert mask.beginning(password, 5) == "***"
    assert mask.end(password, 5) == "***"
    assert NO_MASK.beginning("abcdef", 3) + NO_MASK.end("abcdef", 3) == "abcdef"
