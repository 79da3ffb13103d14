from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import pgsched
from pgsched.cli.exits import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Answer, Command

COMMANDS = (
    "migrate",
    "worker",
    "schedule",
    "reschedule",
    "list",
    "cancel",
    "retry",
    "discard",
    "next",
    "config",
    "dev",
)


def test_help_names_every_command_and_the_exit_statuses(usage: Callable[..., Answer]) -> None:
    for option in ("--help", "-h"):
        answer = usage(option)
        assert (answer.status, answer.err) == (0, "")
        assert [name for name in COMMANDS if f"  {name} " not in answer.out] == []
        said = " ".join(answer.out.split())
        assert "0 done; 1 " in said
        assert "2 wrong usage; 75 database not reachable" in said
        assert "78 configuration or task modules invalid" in said


def test_help_is_there_at_once(command: Command) -> None:
    """By processor time (0.11 s): a busy machine is not its fault."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert command("--help").status == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_config_and_dsn(name: str, usage: Callable[..., Answer]) -> None:
    answer = usage(name, "--help")
    assert answer.status == 0
    assert "--config FILE" in answer.out
    assert "--dsn DSN" in answer.out


def test_the_version_is_told(usage: Callable[..., Answer]) -> None:
    assert usage("--version").out == f"pgsched {pgsched.__version__}\n"
    assert usage("-V").out == f"pgsched {pgsched.__version__}\n"


def test_no_command_is_wrong_usage_and_shows_the_help(usage: Callable[..., Answer]) -> None:
    for arguments in ([], ["config"]):
        answer = usage(*arguments)
        assert (answer.status, answer.out) == (2, "")
        assert answer.err.startswith("Usage: pgsched ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("lst", r"no such command 'lst'.*'list'"),
        ("list --jsn", "no such option: --jsn — did you mean '--json'\\?"),
        (
            "list --state dua",
            "'--state': 'dua' — did you mean 'due'\\? \\(allowed: due, scheduled, running",
        ),
        ("list --limit 0", "'--limit': '0' \\(allowed: a whole number from 1\\)"),
        ("list --limit many", "'--limit': 'many' \\(allowed: a whole number from 1\\)"),
        ("list one", "unexpected extra argument"),
        ("schedule a", "missing argument 'INSTANCE'"),
        ("schedule a b --at", "'?--at'?"),
        (
            "schedule a b --at 2030-01-01T00:00",
            "--at: '2030-01-01T00:00' has no zone, and would mean another",
        ),
        (
            "schedule a b --at 10000-01-01T00:00Z",
            "--at: '10000-01-01T00:00Z' is no time .*years 1 to 9999",
        ),
        ("schedule a b --at soon", "--at: 'soon' is no time .*allowed: ISO 8601 with a zone"),
        ("schedule a b --in 5", "--in: '5' is no duration: a number and its unit are needed"),
        ("schedule a b --in 5m --at 2030-01-01T00:00Z", "--in: it can't go with --at"),
        ("schedule a b --data {x", "--data: not JSON: Expecting property name"),
        ("schedule a b --data NaN", "--data: not JSON: NaN is no JSON number"),
        ("schedule a b --data -Infinity", "--data: not JSON: -Infinity is no JSON number"),
        (f"schedule a b --data {'[' * 20000}", "--data: not JSON: nested too deeply"),
        ("schedule a b --data-file none", "--data-file: 'none' can't be read: No such file"),
        ("schedule a b --data-file .", "--data-file: '.' can't be read: Is a directory"),
        ("schedule a b --data 1 --data-file x", "--data-file: it can't go with --data"),
        ("schedule", "missing argument 'TASK' \\(or --from-file FILE\\)"),
        ("schedule a --from-file x", "--from-file: it can't go with TASK: give one of them"),
        ("schedule --data 1 --from-file x", "--from-file: it can't go with --data: give one"),
        ("schedule --data-file x --from-file x", "--from-file: it can't go with --data-file"),
        ("schedule --from-file x --at soon", "--at: 'soon' is no time"),
        ("schedule --from-file x --at 2030-01-01T00:00Z --in 5m", "--in: it can't go with --at"),
        (
            "schedule --from-file x --from-line 0",
            "'--from-line': '0' \\(allowed: a whole number from 1\\)",
        ),
        ("schedule --from-file none --dsn host=x", "--from-file: it can't be read: No such file"),
        ("schedule --from-file . --dsn host=x", "--from-file: it can't be read: Is a directory"),
        ("schedule a b --from-line 2", "--from-line: it goes with --from-file only"),
        ("schedule a b --json", "--json: it goes with --from-file only"),
        ("schedule a b --priority high", "'--priority': 'high' \\(allowed: a whole number\\)"),
        ("schedule a b --if-exists ignor", "'ignor' — did you mean 'ignore'\\?"),
        ("reschedule a b", "nothing to change: give --at, --in, --now, --data"),
        ("reschedule a b --now --in 5m", "--now: it can't go with --in"),
        ("migrate --check --dry-run", "--dry-run: it can't go with --check"),
        ("worker --processes 0", "'--processes': '0' \\(allowed: a whole number from 1\\)"),
        ("next soon", "SCHEDULE: 'soon' is no schedule; allowed: a cron expression"),
        (
            "next @daily --timezone Europe/Rom",
            "no time zone 'Europe/Rom' — did you mean 'Europe/Rome'\\?",
        ),
        ("next @daily --count 0", "'--count'"),
        (
            "next @daily --count 1001",
            "'--count': '1001' \\(allowed: a whole number from 1 to 1000\\)",
        ),
    ],
)
def test_wrong_usage_is_told_in_one_line(
    arguments: str, message: str, usage: Callable[..., Answer]
) -> None:
    answer = usage(*arguments.split())
    assert (answer.status, answer.out) == (2, "")
    assert re.fullmatch(rf"pgsched: .*{message}.*\(see `pgsched.* --help`\)\n", answer.err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("schedule", "", "b"), "the task name is empty"),
        (
            ("schedule", "a", "b" * 1001),
            "the task instance is 1001 bytes long; allowed: up to 1000",
        ),
        (("schedule", "a", "b", "--data", '"\\u0000"'), "data holds a NUL character"),
        (("schedule", "a", "b", "--data", '"\\ud800"'), "data holds a lone surrogate"),
        (("schedule", "a", "b", "--data", "1e400"), "data is not JSON: Out of range float"),
        (
            ("schedule", "a", "b", "--priority", "2147483648"),
            "a priority must be from -2147483648 to",
        ),
        (("schedule", "a", "b", "--at", "0001-01-01T00:00+05:00"), "is out of range in UTC"),
        (("schedule", "a\udcff", "b"), "the task name holds a lone surrogate"),
    ],
)
def test_data_that_cannot_be_stored_is_refused_before_anything_is_sent(
    arguments: tuple[str, ...], message: str, usage: Callable[..., Answer]
) -> None:
    answer = usage("--dsn", "host=/nowhere", *arguments)
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith("pgsched: ")
    assert message in answer.err
    assert answer.err.count("\n") == 1


def test_the_option_nearest_to_the_end_counts(usage: Callable[..., Answer]) -> None:
    for arguments in (
        ["--dsn", "host=one", "config", "show"],
        ["config", "--dsn", "host=one", "show"],
        ["config", "show", "--dsn", "host=one"],
        ["--dsn", "host=two", "config", "--dsn", "host=three", "show", "--dsn", "host=one"],
    ):
        assert "dsn: host=one\n" in usage(*arguments).out


def test_an_unreachable_database_exits_75_and_shows_no_password(
    usage: Callable[..., Answer],
) -> None:
    answer = usage("list", "--dsn", "postgresql://app:s3cret@127.0.0.1:1/app")
    assert (answer.status, answer.out) == (75, "")
    assert re.fullmatch(r"pgsched: database not available: .*refused.*\n", answer.err)
    assert "s3cret" not in answer.err


def test_no_database_at_all_exits_78_and_says_how_to_give_one(usage: Callable[..., Answer]) -> None:
    answer = usage("list")
    assert (answer.status, answer.out) == (78, "")
    assert (
        "pgsched: database.dsn: no database is configured (allowed: --dsn, PGSCHED_" in answer.err
    )


def test_a_bug_of_ours_shows_its_trace_and_where_to_report_it(
    usage: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("nobody expects this")

    monkeypatch.setattr("pgsched.domain.schedule.coming_times", broken)
    answer = usage("next", "@daily", "--dsn", "password=s3cret")
    assert (answer.status, answer.out) == (70, "")
    assert "Traceback (most recent call last):" in answer.err
    assert "ZeroDivisionError: nobody expects this" in answer.err
    assert "this is a bug in pgsched: please report it" in answer.err.splitlines()[-1]
    assert "s3cret" not in answer.err.splitlines()[-1]


def test_ctrl_c_ends_a_command_quietly(command: Command) -> None:
    """The server never answers, so the command is waiting when the signal comes."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        dsn = f"host=127.0.0.1 port={silent.getsockname()[1]} connect_timeout=25"
        running = command.start(
            "list", "--dsn", dsn, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        connection, _ = silent.accept()
        with connection:
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=20)
    assert (running.returncode, out, err) == (130, "", "")


@pytest.mark.parametrize(
    ("arguments", "statuses"),
    [
        (("next", "* * * * *", "--count", "1000", "--json"), {ExitStatus.BROKEN_PIPE}),
        (("--help",), {1, ExitStatus.BROKEN_PIPE}),
    ],
)
def test_a_reader_who_leaves_is_no_error(
    arguments: tuple[str, ...], statuses: set[int], command: Command
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    running = command.start(*arguments, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    _, err = running.communicate(timeout=20)
    assert err == ""
    assert running.returncode in statuses


def test_closed_streams_are_no_error(command: Command) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m pgsched next @daily <&- >&- 2>&-'],
        cwd=command.folder,
        env=command.environment,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0


def test_a_full_disk_is_told_in_one_line(command: Command) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 a device
        running = command.start("next", "@daily", stdout=full, stderr=subprocess.PIPE)
        _, err = running.communicate(timeout=20)
    assert (running.returncode, err) == (
        1,
        "pgsched: can't write to stdout: No space left on device\n",
    )


def test_a_terminal_without_unicode_shows_escapes(command: Command) -> None:
    answer = command("--dsn", "host=größe", "config", "show", PYTHONIOENCODING="ascii")
    assert answer.status == 0
    assert "dsn: host=gr\\xf6\\xdfe\n" in answer.out


def test_completion_knows_commands_and_states(command: Command) -> None:
    # Else it looks which shell it was started from, and there may be none.
    script = command("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_PGSCHED_COMPLETE=complete_bash" in script.out
    commands = command(_PGSCHED_COMPLETE="complete_bash", COMP_WORDS="pgsched re", COMP_CWORD="1")
    assert commands.out.split() == ["reschedule", "retry"]
    states = command(
        _PGSCHED_COMPLETE="complete_bash", COMP_WORDS="pgsched list --state ", COMP_CWORD="3"
    )
    assert states.out.split() == ["due", "scheduled", "running", "retrying", "failed"]
