"""`pgsched schedule --from-file`, on a real database."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgsched.cli.load.loading import BAD_ROWS_TOLD
from pgsched.client import Client
from pgsched.store.scheduling import CHUNK
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from pgsched.domain.execution import Execution
    from tests.cli.conftest import Answer, Command

TIMEOUT_S = 30
BACKENDS = "datname = current_database() and application_name = 'pgsched'"


@pytest.fixture
def sql(database: str) -> Generator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def loading(on_database: Command) -> Generator[Callable[..., subprocess.Popen[str]]]:
    """A load of what the test writes to its stdin."""
    started = []

    def load(*options: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        running = on_database.start(
            "schedule", "--from-file", "-", *options, stdin=pipe, stdout=pipe, stderr=pipe
        )
        started.append(running)
        return running

    yield load
    for running in started:
        running.kill()
        running.communicate()


def line(instance: object, **more: Any) -> str:
    return json.dumps({"task": "t", "instance": str(instance), **more}) + "\n"


def lines(numbers: Iterable[int]) -> str:
    return "".join(line(number) for number in numbers)


def feed(running: subprocess.Popen[str], text: str) -> None:
    assert running.stdin
    running.stdin.write(text)
    running.stdin.flush()


def instances(sql: psycopg.Connection) -> list[str]:
    rows = sql.execute("select task_instance from scheduled_tasks order by task_instance")
    return [instance for (instance,) in rows]


def count(sql: psycopg.Connection) -> int:
    [(found,)] = sql.execute("select count(*) from scheduled_tasks")
    return int(found)


def wait_for_rows(sql: psycopg.Connection, wanted: int) -> None:
    wait_until(lambda: count(sql) == wanted, describe=f"{wanted} rows")


def wait_until_blocked(sql: psycopg.Connection) -> None:
    query = f"select from pg_stat_activity where {BACKENDS} and wait_event_type = 'Lock'"
    wait_until(lambda: sql.execute(query.encode()).fetchone() is not None)


def load(on_database: Command, content: str | bytes, *options: str) -> Answer:
    file = on_database.folder / "jobs.jsonl"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return on_database("schedule", "--from-file", "jobs.jsonl", *options)


# What rows may say


def test_a_row_says_what_the_command_line_says(on_database: Command, database: str) -> None:
    content = (
        line("plain")
        + line("data", data={"to": "Größe"}, priority=7)
        + line("at", at="2030-01-31T09:00:00+02:00")
        + line("in", **{"in": "2h30m"})
        + line("null", data=None, at=None, priority=None, **{"in": None})
    )
    answer = load(on_database, content)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out == "loaded 'jobs.jsonl': 5 new, 0 already there, 0 bad\n"
    with Client(database) as client:
        found = {execution.task_instance: execution for execution in client.list()}
    assert (found["plain"].state, found["plain"].task_data) == ("due", None)
    assert (found["data"].task_data, found["data"].priority) == ({"to": "Größe"}, 7)
    assert found["at"].execution_time == datetime(2030, 1, 31, 7, tzinfo=UTC)
    away = found["in"].execution_time - found["plain"].execution_time
    assert timedelta(hours=2, minutes=29) < away <= timedelta(hours=2, minutes=30)
    assert (found["null"].state, found["null"].priority) == ("due", None)


def test_the_command_line_is_for_rows_that_say_nothing(on_database: Command, database: str) -> None:
    def times_of(content: str, *options: str) -> dict[str, Execution]:
        assert load(on_database, content, *options).status == 0
        with Client(database) as client:
            return {execution.task_instance: execution for execution in client.list()}

    at = ("--at", "2030-01-01T00:00Z", "--priority", "3")
    content = line("a") + line("b", at="2031-01-01T00:00Z", priority=-1) + line("c", **{"in": "1d"})
    found = times_of(content, *at)
    assert (found["a"].execution_time, found["a"].priority) == (datetime(2030, 1, 1, tzinfo=UTC), 3)
    assert (found["b"].execution_time.year, found["b"].priority) == (2031, -1)
    assert found["c"].execution_time < datetime.now(UTC) + timedelta(days=2)
    found = times_of(line("d") + line("e", at="2031-01-01T00:00Z"), "--in", "5d")
    assert found["d"].execution_time > datetime.now(UTC) + timedelta(days=4)
    assert found["e"].execution_time.year == 2031


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[1]", "not a JSON object; allowed: one with task, instance, data, at, in, priority"),
        ('{"task": "t"', "not JSON: Expecting ',' delimiter (character 13 of the line)"),
        ('{"task": "t", "instance": "i", "data": NaN}', "not JSON: NaN is no JSON number"),
        ("[" * 100_000, "not JSON: nested too deeply"),
        (
            '{"task": "t", "instance": "i", "prio": 1}',
            "unknown key 'prio' — did you mean 'priority'? (allowed: task, instance, data",
        ),
        ('{"task": "t"}', "instance is missing (needed: task and instance)"),
        ('{"task": 1, "instance": "i"}', "the task name must be text, not 1"),
        ('{"task": "t", "instance": ""}', "the task instance is empty"),
        (line("x" * 1001), "the task instance is 1001 bytes long; allowed: up to 1000"),
        (line("i", at="2030-01-01T00:00"), "at: '2030-01-01T00:00' has no zone"),
        (line("i", at=5), "at: 5 is no time"),
        (line("i", **{"in": "5"}), "in: '5' is no duration: a number and its unit are needed"),
        (line("i", **{"in": 5}), "in: 5 is no duration"),
        (line("i", at="2030-01-01T00:00Z", **{"in": "5m"}), "in: it can't go with at"),
        (line("i", priority="high"), "a priority must be a whole number, not 'high'"),
        (line("i", priority=1 << 31), "a priority must be from -2147483648 to"),
        (line("i", data="\0"), "data holds a NUL character"),
        (b'{"task": "t", "instance": "\xff"}', "not UTF-8: byte 28 of the line"),
    ],
)
def test_a_bad_row_is_told_and_the_others_are_loaded(
    content: str | bytes, problem: str, on_database: Command, sql: psycopg.Connection
) -> None:
    bad = content.encode() if isinstance(content, str) else content
    answer = load(on_database, line("a").encode() + bad.strip() + b"\n" + line("b").encode())
    assert answer.status == 1
    assert answer.err.startswith("jobs.jsonl:2: ")
    assert problem in answer.err
    assert answer.err.count("\n") == 1
    assert answer.out == "loaded 'jobs.jsonl': 2 new, 0 already there, 1 bad\n"
    assert instances(sql) == ["a", "b"]


def test_the_database_may_refuse_a_row_and_the_others_are_loaded(
    on_database: Command, sql: psycopg.Connection
) -> None:
    sql.execute("alter table scheduled_tasks add check (task_instance not in ('3', '4', '9'))")
    answer = load(on_database, lines(range(1, 11)))
    assert (answer.status, answer.out) == (
        1,
        "loaded 'jobs.jsonl': 7 new, 0 already there, 3 bad\n",
    )
    told = [
        text.partition(": the database refused the data: ")[0] for text in answer.err.splitlines()
    ]
    assert told == ["jobs.jsonl:3", "jobs.jsonl:4", "jobs.jsonl:9"]
    assert count(sql) == 7


def test_only_the_first_bad_rows_are_told(on_database: Command, sql: psycopg.Connection) -> None:
    answer = load(on_database, "{}\n" * (BAD_ROWS_TOLD + 50) + line("a"), "--json")
    assert answer.status == 1
    assert answer.json == {"new": 1, "already_there": 0, "bad": BAD_ROWS_TOLD + 50}
    *told, last = answer.err.splitlines()
    assert len(told) == BAD_ROWS_TOLD
    assert last == f"pgsched: more than {BAD_ROWS_TOLD} rows are bad: the others are only counted"
    assert instances(sql) == ["a"]


def test_what_moves_a_terminal_is_escaped(on_database: Command) -> None:
    answer = load(on_database, '{"\\u001b[31m": 1}\n')
    assert "\x1b" not in answer.err
    assert "unknown key '\\x1b[31m'" in answer.err


# What files may look like


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf", b"\r\n \t\r\n"])
def test_a_file_of_nothing_loads_nothing(content: bytes, on_database: Command) -> None:
    answer = load(on_database, content)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out == "loaded 'jobs.jsonl': 0 new, 0 already there, 0 bad\n"


def test_files_of_other_systems_are_read(on_database: Command, sql: psycopg.Connection) -> None:
    """A byte order mark, CRLF, blank lines, no end of the last line: and the numbers are still the lines'."""
    content = ("\ufeff" + line("a") + "\n  \n" + line("b") + "{}\n" + line("c")).replace(
        "\n", "\r\n"
    )
    answer = load(on_database, content.rstrip())
    assert (answer.status, answer.out) == (
        1,
        "loaded 'jobs.jsonl': 3 new, 0 already there, 1 bad\n",
    )
    assert answer.err.startswith("jobs.jsonl:5: task is missing")
    assert instances(sql) == ["a", "b", "c"]


def test_a_line_without_end_is_bad_and_not_kept(
    on_database: Command, sql: psycopg.Connection, tmp_path: Path
) -> None:
    with (tmp_path / "jobs.jsonl").open("w") as file:
        file.write(line("a"))
        file.write('{"task": "t", "instance": "b", "data": "')
        for _ in range(200):
            file.write("x" * (1 << 20))
        file.write(f'"}}\n{line("c")}')
    answer = on_database("schedule", "--from-file", "jobs.jsonl")
    assert answer.err == "jobs.jsonl:2: the line is too long; allowed: up to 67108864 bytes\n"
    assert (answer.status, instances(sql)) == (1, ["a", "c"])


def test_large_rows_make_small_chunks(on_database: Command, sql: psycopg.Connection) -> None:
    content = "".join(line(number, data="x" * (3 << 20)) for number in range(7))
    assert load(on_database, content).status == 0
    [(chunks,)] = sql.execute("select count(distinct xmin::text) from scheduled_tasks")
    assert (count(sql), chunks) == (7, 3)


def test_stdin_is_a_file_too(on_database: Command, sql: psycopg.Connection) -> None:
    answer = on_database("schedule", "--from-file", "-", given=line("a") + "{}\n" + line("b"))
    assert (answer.status, answer.out) == (1, "loaded '-': 2 new, 0 already there, 1 bad\n")
    assert answer.err.startswith("stdin:2: task is missing")
    assert instances(sql) == ["a", "b"]


# What is already there


def test_what_is_already_there_is_left_and_counted(on_database: Command, database: str) -> None:
    with Client(database) as client:
        client.schedule("t", "1", "first")
        assert load(on_database, line(1, data="second") + line(2)).status == 1
        for options, status in (((), 1), (("--if-exists=ignore",), 0)):
            answer = load(on_database, line(1, data="second") + line(2), *options)
            assert answer.status == status
            assert answer.out == "loaded 'jobs.jsonl': 0 new, 2 already there, 0 bad\n"
            assert ("already there are left as they are" in answer.err) == (status == 1)
        execution = client.get("t", "1")
    assert execution is not None
    assert execution.task_data == "first"


def test_of_two_rows_for_one_instance_the_first_counts(on_database: Command, database: str) -> None:
    content = "".join(line("same", data=number) for number in range(50))
    answer = load(on_database, content, "--if-exists=ignore", "--json")
    assert (answer.status, answer.err) == (0, "")
    assert answer.json == {"new": 1, "already_there": 49, "bad": 0}
    with Client(database) as client:
        execution = client.get("t", "same")
    assert execution is not None
    assert execution.task_data == 0


def test_workers_are_woken_once_a_chunk(on_database: Command, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as listening:
        listening.execute('listen "pgsched.scheduled_tasks"')
        assert load(on_database, lines(range(2 * CHUNK))).status == 0
        assert len(list(listening.notifies(timeout=0.5))) == 2


# Interrupted


def test_ctrl_c_says_how_to_go_on_and_that_loads_the_rest(
    loading: Callable[..., subprocess.Popen[str]], on_database: Command, sql: psycopg.Connection
) -> None:
    everything = lines(range(3 * CHUNK))
    running = loading("--priority=5", "--if-exists=ignore")
    feed(running, "".join(everything.splitlines(keepends=True)[: 2 * CHUNK + 500]))
    wait_for_rows(sql, 2 * CHUNK)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=TIMEOUT_S)
    assert (running.returncode, out) == (130, "")
    assert err == (
        f"pgsched: stopped: everything up to line {2 * CHUNK} is committed; go on with: "
        f"pgsched schedule --from-file=- --from-line={2 * CHUNK + 1} --priority=5 --if-exists=ignore\n"
    )
    assert count(sql) == 2 * CHUNK
    answer = load(on_database, everything, f"--from-line={2 * CHUNK + 1}")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out == f"loaded 'jobs.jsonl': {CHUNK} new, 0 already there, 0 bad\n"
    assert count(sql) == 3 * CHUNK


def test_a_signal_lets_the_chunk_be_written(
    loading: Callable[..., subprocess.Popen[str]], database: str, sql: psycopg.Connection
) -> None:
    """Cut off, nobody could say whether it is committed. Without `held_back` line 0 is told, and status 130 too."""
    with psycopg.connect(database) as other:
        other.execute("insert into scheduled_tasks (task_name, task_instance) values ('t', '1')")
        running = loading()
        feed(running, lines(range(CHUNK)))
        wait_until_blocked(sql)
        running.send_signal(signal.SIGTERM)
        other.rollback()
    _, err = running.communicate(timeout=TIMEOUT_S)
    assert running.returncode == 143
    assert f"everything up to line {CHUNK} is committed" in err
    assert count(sql) == CHUNK


def test_a_second_signal_does_not_wait(
    loading: Callable[..., subprocess.Popen[str]], database: str, sql: psycopg.Connection
) -> None:
    with psycopg.connect(database) as other:
        other.execute("insert into scheduled_tasks (task_name, task_instance) values ('t', '1')")
        running = loading("--dsn", database)
        feed(running, lines(range(CHUNK)))
        wait_until_blocked(sql)
        for number in (signal.SIGTERM, signal.SIGINT):  # not twice the same: two may become one
            running.send_signal(number)
        _, err = running.communicate(timeout=TIMEOUT_S)
        other.rollback()
    assert running.returncode in {130, 143}
    assert err == (
        "pgsched: stopped before anything was committed; start again with: "
        "pgsched schedule --from-file=- --from-line=1 --dsn=DSN\n"
    )
    assert count(sql) == 0


def test_a_lost_database_says_how_to_go_on(
    loading: Callable[..., subprocess.Popen[str]], on_database: Command, sql: psycopg.Connection
) -> None:
    everything = lines(range(4 * CHUNK))
    running = loading()
    feed(running, lines(range(CHUNK + 10)))
    wait_for_rows(sql, CHUNK)
    sql.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where {BACKENDS}".encode())
    out, err = running.communicate(lines(range(CHUNK + 10, 4 * CHUNK)), timeout=TIMEOUT_S)
    assert (running.returncode, out) == (75, "")
    stopped, why = err.splitlines()
    assert stopped == (
        f"pgsched: stopped: everything up to line {CHUNK} is committed; go on with: "
        f"pgsched schedule --from-file=- --from-line={CHUNK + 1}"
    )
    assert why.startswith("pgsched: database not available: ")
    assert count(sql) == CHUNK
    assert load(on_database, everything, f"--from-line={CHUNK + 1}").status == 0
    assert count(sql) == 4 * CHUNK


def test_a_missing_table_is_told_before_anything_is_written(
    command: Command, empty_database: str
) -> None:
    (command.folder / "jobs.jsonl").write_text(line("a"))
    answer = command("schedule", "--from-file=jobs.jsonl", DATABASE_URL=empty_database)
    assert (answer.status, answer.out) == (75, "")
    stopped, why = answer.err.splitlines()
    assert "stopped before anything was committed" in stopped
    assert "run `pgsched migrate`" in why


# Memory, and who watches


def test_memory_stays_flat(
    loading: Callable[..., subprocess.Popen[str]], sql: psycopg.Connection
) -> None:
    """Measured at its peak, after 20,000 and after 200,000 rows of some 100 bytes: 20 MB of text, parsed far more."""
    running = loading()
    peaks = []
    for start, end in ((0, 20_000), (20_000, 200_000)):
        for first in range(start, end, 10 * CHUNK):
            numbers = range(first, first + 10 * CHUNK)
            feed(running, "".join(line(n, data={"to": f"user-{n}", "n": n}) for n in numbers))
        wait_for_rows(sql, end)
        peaks.append(peak_kb(running))
    running.communicate(timeout=TIMEOUT_S)
    assert running.returncode == 0
    assert peaks[1] - peaks[0] < 8 * 1024


def peak_kb(running: subprocess.Popen[str]) -> int:
    status = Path(f"/proc/{running.pid}/status").read_text()
    [text] = [text for text in status.splitlines() if text.startswith("VmHWM")]
    return int(text.split()[1])


def test_a_terminal_shows_how_far_it_is(on_database: Command) -> None:
    (on_database.folder / "jobs.jsonl").write_text("{}\n" + lines(range(2 * CHUNK)))
    mine, its = pty.openpty()
    running = on_database.start(
        "schedule", "--from-file=jobs.jsonl", stdout=subprocess.PIPE, stderr=its
    )
    os.close(its)
    shown = all_of(mine)
    out, _ = running.communicate(timeout=TIMEOUT_S)
    assert (running.returncode, out) == (
        1,
        f"loaded 'jobs.jsonl': {2 * CHUNK} new, 0 already there, 1 bad\n",
    )
    assert "jobs.jsonl:1: task is missing" in shown
    assert "100%" in shown
    assert f"{2 * CHUNK + 1:,} rows" in shown
    assert "rows/s" in shown


def all_of(terminal: int) -> str:
    """What is written to a terminal until its last writer has left, which Linux tells as an error."""
    parts = []
    while True:
        try:
            parts.append(os.read(terminal, 1 << 16))
        except OSError:
            os.close(terminal)
            return b"".join(parts).decode()
