"""From an error to one line on stderr and an exit status, here alone. Never prints to stdout."""

from __future__ import annotations

import traceback
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pgsched.cli.output import ReaderLeft, note
from pgsched.errors import (
    ConfigError,
    DatabaseUnavailable,
    InvalidData,
    PgschedError,
    Terminated,
    did_you_mean,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class ExitStatus(IntEnum):
    """What a program that runs pgsched may rely on."""

    DONE = 0
    CANNOT = 1
    """What was asked for can't be done: not found, running, already there, not up to date."""
    USAGE = 2
    BUG = 70
    """An error of pgsched's own (sysexits' EX_SOFTWARE); the trace is on stderr."""
    UNAVAILABLE = 75
    """EX_TEMPFAIL: the database, or its schema (for `health`: the worker); trying again may help."""
    CONFIG = 78
    """EX_CONFIG: configuration or task modules; trying again won't help."""
    INTERRUPTED = 130
    """Ctrl-C before a worker was up, or in any other command."""
    BROKEN_PIPE = 141
    """Whoever reads stdout has left, such as `| head`: as a shell reports a program ended by SIGPIPE."""
    TERMINATED = 143
    """SIGTERM before a worker was up, or in any other command."""


STATUSES: tuple[tuple[type[Exception], ExitStatus], ...] = (
    (ConfigError, ExitStatus.CONFIG),
    (DatabaseUnavailable, ExitStatus.UNAVAILABLE),
    (InvalidData, ExitStatus.USAGE),
    (PgschedError, ExitStatus.CANNOT),
)
"""The first that fits."""

IN_HELP = (
    "Exit status: 0 done; 1 the thing asked for can't be done (not found, running, already there); 2 wrong usage; "
    "75 database not reachable, or its schema not (yet) the one needed: trying again may help; 78 configuration or "
    "task modules invalid: trying again won't."
)


@runtime_checkable
class UsageProblem(Protocol):
    """What typer raises for wrong usage. A protocol, as the class has moved between its releases."""

    exit_code: int

    def format_message(self) -> str: ...


def exit_status(command: Callable[[], object]) -> int:
    """Run a command to its exit status; whatever it raises becomes lines on stderr."""
    try:
        answer = command()
    except Terminated:
        return ExitStatus.TERMINATED
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except ReaderLeft:
        return ExitStatus.BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 the last line of defence: no trace but that of a bug
        return _told(error)
    return answer if isinstance(answer, int) else ExitStatus.DONE


def _told(error: Exception) -> int:
    if isinstance(error, UsageProblem):
        note(_usage_line(error))
        return error.exit_code
    for kind, status in STATUSES:
        if isinstance(error, kind):
            for line in (str(error), *getattr(error, "__notes__", ())):
                note(line)
            return status
    traceback.print_exception(error)
    note("this is a bug in pgsched: please report it, with the lines above, to its issue tracker")
    return ExitStatus.BUG


def _usage_line(error: UsageProblem) -> str:
    """Typer's message with a hint and a way to help."""
    message = error.format_message().removeprefix("Invalid value: ")
    if possible := getattr(error, "possibilities", None):
        wrong = getattr(error, "option_name", "")
        message = f"no such option: {wrong}{did_you_mean(wrong, possible)}"
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "pgsched"
    return f"{message[:1].lower()}{message[1:].rstrip('.')} (see `{path} --help`)"
