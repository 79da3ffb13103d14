"""The program `pgsched`: its commands and the options that all of them take.

Imports typer and nothing heavy: `pgsched --help` and shell completion must answer at once.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from typing import Annotated

import typer

from pgsched import __version__
from pgsched.cli import exits
from pgsched.cli.arguments import ConfigFile, ConfigFileOrVariable, Dsn
from pgsched.cli.commands import config
from pgsched.cli.commands.cancel import cancel
from pgsched.cli.commands.dev import dev
from pgsched.cli.commands.discard import discard
from pgsched.cli.commands.doctor import doctor
from pgsched.cli.commands.health import health
from pgsched.cli.commands.list import list_executions
from pgsched.cli.commands.maintenance import maintenance
from pgsched.cli.commands.migrate import migrate
from pgsched.cli.commands.next import next_times
from pgsched.cli.commands.reschedule import reschedule
from pgsched.cli.commands.retry import retry
from pgsched.cli.commands.schedule import schedule
from pgsched.cli.commands.status import status
from pgsched.cli.commands.tasks import tasks
from pgsched.cli.commands.worker import worker
from pgsched.cli.output import write, write_error
from pgsched.errors import Terminated
from pgsched.worker.terminal import heed_early_hang_ups

COMMANDS: dict[str, Callable[..., None]] = {
    "migrate": migrate,
    "worker": worker,
    "schedule": schedule,
    "reschedule": reschedule,
    "list": list_executions,
    "status": status,
    "tasks": tasks,
    "cancel": cancel,
    "retry": retry,
    "discard": discard,
    "doctor": doctor,
    "maintenance": maintenance,
    "next": next_times,
    "health": health,
    "dev": dev,
}


def _print_version(wanted: bool) -> None:
    if wanted:
        write(f"pgsched {__version__}\n")
        raise typer.Exit


def _root(
    context: typer.Context,
    _config: ConfigFileOrVariable = None,
    _dsn: Dsn = None,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Background jobs and recurring schedules on Postgres, without a broker."""
    _require_command(context)


def _config_group(context: typer.Context, _config: ConfigFile = None, _dsn: Dsn = None) -> None:
    """Check the configuration, or show what it comes to."""
    _require_command(context)


def _require_command(context: typer.Context) -> None:
    """A group alone is wrong usage, and its help is the best answer."""
    if context.invoked_subcommand is None:
        write_error(f"{context.get_help()}\n")
        raise typer.Exit(exits.ExitStatus.USAGE)


def _new_app(epilog: str | None = None) -> typer.Typer:
    return typer.Typer(
        invoke_without_command=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        epilog=epilog,
        context_settings={"help_option_names": ["--help", "-h"]},
    )


app = _new_app(exits.IN_HELP)
app.callback()(_root)
for name, command in COMMANDS.items():
    app.command(name)(command)

config_app = _new_app()
config_app.callback()(_config_group)
config_app.command("check")(config.check)
config_app.command("show")(config.show)
app.add_typer(config_app, name="config")


def _ensure_streams() -> None:
    """Where a caller closed stdout or stderr, a socket would get its number, and then what is printed."""
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, number)
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w"))


def main() -> None:
    """Run the command that `sys.argv` asks for and exit with its status."""
    _ensure_streams()
    # As process 1 of a container a signal without a handler is ignored, and loading takes a moment.
    signal.signal(signal.SIGTERM, _terminate)
    if {"worker", "dev"} & {*sys.argv}:
        heed_early_hang_ups()
    if any(word.startswith("--dsn") for word in sys.argv):
        from setproctitle import setproctitle

        setproctitle("pgsched")  # a DSN may hold a password, and everybody can read arguments
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name must not break an ASCII terminal
    status = exits.exit_status(lambda: app(prog_name="pgsched", standalone_mode=False))
    _leave_threads(status)
    sys.exit(status)


def _terminate(_number: int, _frame: object) -> None:
    raise Terminated(exits.ExitStatus.TERMINATED)


def _leave_threads(status: int) -> None:
    """Python waits for threads at its end: one that a task module has started may never end."""
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    if all(thread.daemon for thread in others):
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
