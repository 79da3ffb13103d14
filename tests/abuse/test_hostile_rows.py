"""What plain SQL may put into the table: names, times, numbers and data that our own checks refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from pgsched import Client, FailedExecution, InvalidData
from tests.waiting import wait_until
from tests.worker.running import Project, Worker

Start = Callable[..., Worker]

LARGEST_INT = 2**31 - 1
LARGEST_BIGINT = 2**63 - 1
DEEP = "[" * 3000 + "]" * 3000
LONG_NUMBER = "9" * 10_000


def insert(project: Project, task: str, instance: str, **columns: Any) -> None:
    values = {"task_name": task, "task_instance": instance, **columns}
    places = ", ".join(["%s"] * len(values))
    project.sql(
        f"insert into scheduled_tasks ({', '.join(values)}) values ({places})", *values.values()
    )


def test_whatever_a_row_holds_its_neighbours_run_and_it_runs_or_fails(
    project: Project, start: Start
) -> None:
    """One row with the last version there is kept every row from being picked; one with the last count of failures,
    or of crashes, ended a poller, or the housekeeper, each time that they came to it."""
    start(polling_interval="500ms", max_crashes=2)
    insert(project, "innocent", "version", version=LARGEST_BIGINT)
    insert(project, "late", "failures", consecutive_failures=LARGEST_INT)
    insert(project, "raise", "exit", task_data='"exit"', consecutive_failures=LARGEST_INT)
    insert(
        project,
        "innocent",
        "crashes",
        crashes=LARGEST_INT,
        suspicions=LARGEST_INT,
        picked=True,
        picked_by="gone/0-x",
        last_heartbeat="2020-01-01",
    )
    insert(project, "innocent", "since-ever", execution_time="-infinity", last_success="infinity")
    insert(project, "innocent", "before-christ", execution_time="4713-01-01 BC")
    insert(project, "innocent", "never", execution_time="infinity")
    insert(project, "innocent", "far", execution_time="290000-01-01")
    insert(project, "innocent", "urgent", priority=LARGEST_INT)
    insert(project, "innocent", "lowest", priority=-LARGEST_INT - 1)
    insert(project, "innocent", "x" * 10_000)
    insert(project, "innocent", "large", task_data=json.dumps("x" * 10_000_000))
    insert(project, "typed", "json-null", task_data="null")
    insert(project, "typed", "number", task_data=f'{{"a": {LONG_NUMBER}}}')
    insert(project, "innocent", "deep", task_data=DEEP)
    insert(project, "innocent", "long-number", task_data=LONG_NUMBER)
    project.client.schedule("innocent", "neighbour")
    ran = ("version", "since-ever", "before-christ", "urgent", "lowest", "x" * 10_000, "large")
    for instance in (*ran, "neighbour"):
        assert len(project.wait_entries("ran", instance)) == 1
        project.wait_gone(instance)
    failed_once = "select consecutive_failures from scheduled_tasks where last_failure is not null and not picked"
    # Python can't hold the data of two, and the third has failed as often as can be counted.
    assert wait_until(
        lambda: rows if len(rows := project.sql(f"{failed_once} order by 1")) == 3 else None,
        describe="three to be tried again later",
    ) == [(1,), (1,), (LARGEST_INT,)]
    found = wait_until(
        lambda: each if len(each := project.client.list(state="failed")) == 4 else None,
        describe="four to fail for good",
    )
    attempts = {
        each.task_instance: each.attempts for each in found if isinstance(each, FailedExecution)
    }
    assert attempts == {
        "exit": LARGEST_INT,
        "crashes": LARGEST_INT,
        "json-null": 1,
        "number": 1,
    }
    assert {each.task_instance for each in project.client.list(state="scheduled")} == {
        "never",
        "far",
    }


def test_no_process_of_a_worker_dies_of_what_the_database_refuses(
    project: Project, start: Start
) -> None:
    """Somebody's trigger: poller and housekeeper died of it, each time that they tried."""
    project.client.schedule("innocent", "held", in_=None)
    project.sql(
        "create function refuse() returns trigger language plpgsql as "
        "$$ begin raise exception 'not this one'; end $$"
    )
    project.sql(
        "create trigger refuse before delete or update on scheduled_tasks for each row"
        " when (old.picked) execute function refuse()"
    )
    insert(
        project,
        "innocent",
        "silent",
        picked=True,
        picked_by="gone/0-x",
        last_heartbeat="2020-01-01",
    )
    worker = start()
    worker.wait_event("completion.refused", count=2)
    worker.wait_event("database.lost")  # says the housekeeper, which can't even beat
    assert not worker.events("poller.died")
    assert not worker.events("housekeeper.died")
    project.sql("drop trigger refuse on scheduled_tasks")
    for instance in ("held", "silent"):
        project.wait_gone(instance)


def pgsched(database: str, *arguments: str | bytes) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pgsched", *arguments],
        env={**os.environ, "DATABASE_URL": database},
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )


def test_names_that_other_programs_made_can_be_read_and_cancelled(
    project: Project, database: str
) -> None:
    long, escapes = "x" * 10_000, "\x1b]0;owned\x07\x9b31m\u202e\n"
    insert(project, "innocent", long, task_data=DEEP, execution_time="-infinity")
    insert(project, escapes, escapes, task_data=LONG_NUMBER, picked_by=long)
    table = pgsched(database, "list")
    lines = table.stdout.splitlines()
    assert (table.returncode, table.stderr, len(lines)) == (0, "", 3)
    assert [character for character in table.stdout if not character.isprintable()] == ["\n"] * 3
    assert max(map(len, lines)) < 1000
    listed = pgsched(database, "list", "--json")
    assert {each["task_instance"] for each in json.loads(listed.stdout)} == {long, escapes}
    assert pgsched(database, "list", "--task", escapes, "--json").stdout.count("task_name") == 1
    for name, instance in (("innocent", long), (escapes, escapes)):
        assert pgsched(database, "cancel", name, instance).returncode == 0
    assert project.client.list() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--task", b"\xff"),
        ("list", "--limit", "9" * 30),
        ("schedule", b"\xff", "a"),
        ("schedule", "a", "b", "--at", b"\xff" * 10_000),
        ("schedule", "a", "b", "--at", "9" * 100_000),
        ("schedule", "a", "b", "--in", b"\xff"),
        ("schedule", "a", "b", "--data", b'"\xff"'),
        ("schedule", "a", "b", "--priority", "9" * 30),
        ("next", "@daily", "--timezone", b"../../etc/passwd\xff"),
    ],
)
def test_arguments_of_any_bytes_are_refused_in_one_short_line(
    arguments: tuple[str | bytes, ...], database: str
) -> None:
    answer = pgsched(database, *arguments)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.count("\n") == 1
    assert len(answer.stderr) < 400


@pytest.mark.parametrize(
    "arguments",
    [
        {"instance": b"x" * 1_000_000},
        {"instance": ["x" * 1_000_000]},
        {"priority": 10**4000},
        {"priority": "9" * 1_000_000},
        {"at": "9" * 1_000_000},
        {"in_": "9" * 1_000_000},
        {"data": 10**10_000},
        {"data": ["\ud800" * 1_000_000]},
    ],
)
def test_what_is_refused_is_not_repeated_in_full(arguments: dict[str, Any], database: str) -> None:
    with Client(database) as client, pytest.raises(InvalidData) as refused:
        client.schedule(
            "a", arguments.pop("instance", "b"), arguments.pop("data", None), **arguments
        )
    assert len(str(refused.value)) < 200


def test_a_payload_of_10_mb_comes_back(database: str) -> None:
    with Client(database) as client:
        assert client.schedule("a", "large", "x" * 10_000_000)
        read = client.get("a", "large")
        assert read is not None
        assert len(read.task_data) == 10_000_000
