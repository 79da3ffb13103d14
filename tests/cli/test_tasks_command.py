"""What the task modules declare, as a table and as a document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command

TASKS = """
from datetime import timedelta
from typing import TypedDict
from pgsched import (
    Cron, Daily, Every, ExecutionContext, ExponentialBackoff, Failure, GiveUp, MaxRetries, one_time, recurring
)

class Mail(TypedDict):
    to: str

def never(failure: Failure) -> GiveUp:
    return GiveUp()

@one_time("mail", on_failure=ExponentialBackoff(timedelta(seconds=1), max_retries=5), timeout=timedelta(minutes=2))
def mail(data: Mail, context: ExecutionContext): ...

@one_time("charge", on_failure=never, isolation="process")
async def charge(data): ...

@recurring("tidy", schedule=Every(hours=1, minutes=30))
def tidy(): ...

@recurring("report", schedule=Cron("0 9 * * MON-FRI", timezone="Europe/Rome"), on_failure=MaxRetries(3))
def report(context: ExecutionContext): ...

@recurring("twice", schedule=Daily("17:30", "09:00"))
def twice(): ...
"""

SCHEDULE_OF_ITS_OWN = """
from pgsched import recurring

class Moody:
    def next_time(self, after):
        raise RuntimeError("not today")

@recurring("moody", schedule=Moody())
def moody(): ...
"""


def a_module(command: Command, name: str, text: str) -> Path:
    (command.folder / f"{name}.py").write_text(text)
    config = command.folder / "pgsched.yaml"
    config.write_text(f"tasks: {{modules: [{name}]}}\n")
    return config


def test_each_task_is_told_with_all_that_it_declares(command: Command) -> None:
    a_module(command, "shop_of_tests", TASKS)
    answer = command("tasks", "--json")
    assert answer.status == 0, answer.err
    found = {each["task"]: each for each in answer.json}
    assert list(found) == ["charge", "mail", "report", "tidy", "twice"]
    assert found["mail"] == {
        "task": "mail",
        "kind": "one-time",
        "schedule": None,
        "next_run": None,
        "on_failure": "ExponentialBackoff(initial_delay=1s, max_retries=5)",
        "timeout": "2m",
        "isolation": "thread",
        "on_out_of_touch": "continue",
        "is_async": False,
        "function": "shop_of_tests:mail",
        "data": "shop_of_tests.Mail",
    }
    assert found["charge"]["on_failure"] == "shop_of_tests:never"
    assert (found["charge"]["isolation"], found["charge"]["is_async"]) == ("process", True)
    assert found["charge"]["data"] is None
    schedules = {name: each["schedule"] for name, each in found.items() if each["schedule"]}
    assert schedules == {
        "report": "0 9 * * MON-FRI Europe/Rome",
        "tidy": "every 1h30m",
        "twice": "daily 09:00,17:30",
    }
    assert found["report"]["next_run"].endswith("Z")


def test_the_table_has_a_line_for_each(command: Command) -> None:
    a_module(command, "shop_of_tests", TASKS)
    lines = command("tasks").out.splitlines()
    assert len(lines) == 6
    assert lines[0].split() == [
        "task",
        "kind",
        "schedule",
        "next",
        "run",
        "on",
        "failure",
        "timeout",
        "isolation",
        "function",
        "data",
    ]
    assert lines[4].startswith("tidy    recurring  every 1h30m                  in 1h")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import nothing_of_the_kind", "its import failed"),
        (SCHEDULE_OF_ITS_OWN, "the schedule of task 'moody' failed: not today"),
    ],
)
def test_a_module_that_can_not_be_used_is_told_in_one_line(
    command: Command, text: str, told: str
) -> None:
    a_module(command, "broken", text)
    answer = command("tasks")
    assert answer.status == 78
    assert told in answer.err
    assert (answer.out, answer.err.count("\n")) == ("", 1)
