from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgsched.client import Client
from pgsched.domain.execution import Execution, FailedExecution

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.cli.conftest import Command

COLUMNS = [
    "task_name",
    "task_instance",
    "task_data",
    "execution_time",
    "picked",
    "picked_by",
    "last_success",
    "last_failure",
    "consecutive_failures",
    "last_heartbeat",
    "version",
    "priority",
    "crashes",
    "state",
]


@pytest.fixture
def client(database: str) -> Generator[Client]:
    with Client(database) as client:
        yield client


@pytest.fixture
def sql(database: str) -> Generator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def the(client: Client, instance: str = "user-1") -> Execution:
    execution = client.get("send-email", instance)
    assert execution is not None
    return execution


def a_failed_execution(sql: psycopg.Connection, instance: str = "user-1") -> None:
    sql.execute(
        "insert into scheduled_tasks_failed (task_name, task_instance, task_data, execution_time, "
        "consecutive_failures, version, crashes, error, traceback, attempts, failed_at) "
        "values ('send-email', %s, '{\"a\": 1}', now() - interval '1 h', 3, 8, 0, %s, 'Traceback …', 3, "
        "now() - interval '5 m')",
        (instance, f"ValueError: \x1b[31mno\n{'luck ' * 50}"),
    )


# schedule


def test_schedule_creates_an_execution_due_now(on_database: Command, client: Client) -> None:
    answer = on_database("schedule", "send-email", "user-1", "--data", '{"to": "Größe"}')
    assert (answer.status, answer.err) == (0, "")
    assert answer.out == "scheduled task 'send-email', instance 'user-1'\n"
    execution = the(client)
    assert execution.task_data == {"to": "Größe"}
    assert execution.state == "due"


def test_schedule_never_overwrites_and_says_so(on_database: Command, client: Client) -> None:
    client.schedule("send-email", "user-1", "first")
    for option, status in ((), 1), (("--if-exists", "fail"), 1), (("--if-exists=ignore",), 0):
        answer = on_database("schedule", "send-email", "user-1", "--data", '"second"', *option)
        assert (answer.status, answer.out) == (status, "")
        assert answer.err == (
            "pgsched: task 'send-email', instance 'user-1' is already there: left as it is\n"
        )
    assert the(client).task_data == "first"


def test_schedule_takes_a_time_or_a_delay_and_a_priority(
    on_database: Command, client: Client
) -> None:
    at = ("--at", "2030-01-31T09:00:00+02:00", "--priority", "-3")
    assert on_database("schedule", "send-email", "at", *at).status == 0
    assert the(client, "at").execution_time == datetime(2030, 1, 31, 7, tzinfo=UTC)
    assert the(client, "at").priority == -3
    assert on_database("schedule", "send-email", "in", "--in", "2h30m").status == 0
    away = the(client, "in").execution_time - datetime.now(UTC)
    assert timedelta(hours=2, minutes=29) < away <= timedelta(hours=2, minutes=30)


def test_data_comes_from_a_file_or_from_stdin(
    on_database: Command, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "data.json").write_text('\ufeff{"from": "file"}')
    assert on_database("schedule", "send-email", "a", "--data-file", "data.json").status == 0
    assert the(client, "a").task_data == {"from": "file"}
    assert on_database("schedule", "send-email", "b", "--data-file", "-", given="[1]").status == 0
    assert the(client, "b").task_data == [1]


def test_what_begins_with_a_dash_goes_after_two(on_database: Command, client: Client) -> None:
    arguments = ("schedule", "--data", "-1", "--priority", "-2", "--", "send-email", "-x")
    assert on_database(*arguments).status == 0
    assert (the(client, "-x").task_data, the(client, "-x").priority) == (-1, -2)


# reschedule, cancel, retry, discard


def test_reschedule_changes_what_it_is_given(on_database: Command, client: Client) -> None:
    client.schedule("send-email", "user-1", "data", in_=timedelta(days=1), priority=7)
    answer = on_database("reschedule", "send-email", "user-1", "--now")
    assert answer.status == 0
    assert answer.out == "rescheduled task 'send-email', instance 'user-1'\n"
    execution = the(client)
    assert (execution.state, execution.task_data, execution.priority) == ("due", "data", 7)

    assert on_database("reschedule", "send-email", "user-1", "--data", "null").status == 0
    assert (the(client).task_data, the(client).execution_time) == (None, execution.execution_time)

    at = ("--at", "2030-01-01T00:00Z", "--priority", "1")
    assert on_database("reschedule", "send-email", "user-1", *at).status == 0
    assert the(client).execution_time == datetime(2030, 1, 1, tzinfo=UTC)
    assert the(client).priority == 1


def test_cancel_deletes(on_database: Command, client: Client) -> None:
    client.schedule("send-email", "user-1")
    answer = on_database("cancel", "send-email", "user-1")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out == "cancelled task 'send-email', instance 'user-1'\n"
    assert client.get("send-email", "user-1") is None


def test_what_is_not_there_exits_1(on_database: Command) -> None:
    for arguments, what in (
        (("cancel",), "execution"),
        (("reschedule", "--now"), "execution"),
        (("retry",), "failed execution"),
        (("discard",), "failed execution"),
    ):
        answer = on_database(*arguments, "send-email", "\x1b[31m")
        assert (answer.status, answer.out) == (1, "")
        assert answer.err == f"pgsched: no {what} of task 'send-email', instance '\\x1b[31m'\n"


def test_what_is_running_exits_1(
    on_database: Command, client: Client, sql: psycopg.Connection
) -> None:
    client.schedule("send-email", "user-1")
    sql.execute("update scheduled_tasks set picked = true, picked_by = 'x', last_heartbeat = now()")
    for arguments in (("cancel",), ("reschedule", "--now")):
        answer = on_database(*arguments, "send-email", "user-1")
        assert (answer.status, answer.out) == (1, "")
        assert "task 'send-email', instance 'user-1' is running" in answer.err


def test_retry_makes_a_failed_execution_due_again(
    on_database: Command, client: Client, sql: psycopg.Connection
) -> None:
    a_failed_execution(sql)
    answer = on_database("retry", "send-email", "user-1")
    assert (answer.status, answer.out) == (0, "task 'send-email', instance 'user-1' is due again\n")
    assert (the(client).state, the(client).consecutive_failures) == ("due", 0)
    a_failed_execution(sql)
    answer = on_database("retry", "send-email", "user-1")
    assert (answer.status, answer.out) == (1, "")
    assert "is already scheduled" in answer.err


def test_discard_deletes_a_failed_execution(
    on_database: Command, client: Client, sql: psycopg.Connection
) -> None:
    a_failed_execution(sql)
    answer = on_database("discard", "send-email", "user-1")
    assert (answer.status, answer.out) == (0, "discarded task 'send-email', instance 'user-1'\n")
    assert client.list() == []


# list


def test_json_has_every_column_by_its_name(
    on_database: Command, client: Client, sql: psycopg.Connection
) -> None:
    client.schedule("send-email", "user-1", {"é": [1.5, None]}, at=datetime(2030, 1, 1, tzinfo=UTC))
    a_failed_execution(sql, "user-2")
    answer = on_database("list", "--json")
    assert (answer.status, answer.err) == (0, "")
    live, failed = answer.json
    assert list(live) == COLUMNS
    assert live == {
        **dict.fromkeys(COLUMNS),
        "task_name": "send-email",
        "task_instance": "user-1",
        "task_data": {"é": [1.5, None]},
        "execution_time": "2030-01-01T00:00:00Z",
        "picked": False,
        "consecutive_failures": 0,
        "version": 1,
        "crashes": 0,
        "state": "scheduled",
    }
    assert list(failed) == [*COLUMNS, "error", "traceback", "attempts", "failed_at"]
    assert failed["error"].startswith("ValueError: \x1b[31mno\nluck")
    assert (failed["state"], failed["attempts"]) == ("failed", 3)
    assert failed["failed_at"].endswith("Z")


def test_json_says_what_the_client_says(
    on_database: Command, client: Client, sql: psycopg.Connection
) -> None:
    a_failed_execution(sql)
    [failed] = client.list()
    assert isinstance(failed, FailedExecution)
    [said] = on_database("list", "--json").json
    assert {name: said[name] for name in ("task_data", "error", "traceback")} == {
        "task_data": failed.task_data,
        "error": failed.error,
        "traceback": failed.traceback,
    }
    assert datetime.fromisoformat(said["failed_at"]) == failed.failed_at


def test_json_of_nothing_is_an_empty_array(on_database: Command) -> None:
    assert on_database("list", "--json").json == []
    table = on_database("list")
    assert (table.status, table.out, table.err) == (0, "", "pgsched: no executions\n")


def test_the_table_tells_each_execution_on_one_line(
    on_database: Command, client: Client, sql: psycopg.Connection
) -> None:
    client.schedule("send-email", "\x1b[31m[red]\n", priority=5)
    client.schedule("send-email", "later", in_=timedelta(minutes=5, seconds=30))
    a_failed_execution(sql)
    answer = on_database("list")
    assert (answer.status, answer.err) == (0, "")
    header, due, scheduled, failed = answer.out.splitlines()
    assert header.split("  ")[0] == "task"
    words = "task instance state due failures priority picked by attempts failed at error"
    assert header.split() == words.split()
    assert due.split()[:3] == ["send-email", "\\x1b[31m[red]\\n", "due"]
    assert scheduled.split()[:3] == ["send-email", "later", "scheduled"]
    assert "Z (in 5m" in scheduled
    assert failed.split()[:3] == ["send-email", "user-1", "failed"]
    assert "(5m" in failed
    assert "ValueError: \\x1b[31mno luck luck" in failed
    assert failed.endswith("…")


def test_a_table_stops_at_50_rows_and_says_so(on_database: Command, client: Client) -> None:
    client.schedule_many([("send-email", f"user-{number}") for number in range(51)])
    table = on_database("list")
    assert len(table.out.splitlines()) == 1 + 50
    assert table.err == (
        "pgsched: 50 executions are shown and there are more: use --limit N, or --json for all\n"
    )
    all_of_them = on_database("list", "--limit", "51")
    assert (len(all_of_them.out.splitlines()), all_of_them.err) == (1 + 51, "")
    assert len(on_database("list", "--json").json) == 51
    assert len(on_database("list", "--json", "--limit", "3").json) == 3


def test_a_list_may_be_of_one_task_or_state(
    on_database: Command, client: Client, sql: psycopg.Connection
) -> None:
    client.schedule("send-email", "due")
    client.schedule("send-email", "later", in_=timedelta(days=1))
    client.schedule("another", "due")
    a_failed_execution(sql, "lost")

    def found(*options: str) -> list[tuple[str, str]]:
        listed = on_database("list", "--json", *options).json
        return [(each["task_name"], each["task_instance"]) for each in listed]

    assert found("--task", "another") == [("another", "due")]
    assert found("--state", "scheduled") == [("send-email", "later")]
    assert found("--state", "failed") == [("send-email", "lost")]
    assert found("--state", "due", "--task", "send-email") == [("send-email", "due")]
