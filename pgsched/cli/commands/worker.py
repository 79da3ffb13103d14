"""`pgsched worker`: runs due executions until it is told to stop."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated

import typer

from pgsched.cli.arguments import ConfigFile, Dsn, whole
from pgsched.cli.database import connected, settings_from
from pgsched.cli.exits import ExitStatus
from pgsched.errors import PgschedError, TaskModuleError

if TYPE_CHECKING:
    from pgsched.config import Settings
    from pgsched.domain.mask import Mask
    from pgsched.worker.generation import Predecessor


def worker(
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            metavar="N",
            parser=whole(least=1),
            help="Pollers to fork, instead of worker.processes.",
        ),
    ] = None,
    config: ConfigFile = None,
    dsn: Dsn = None,
) -> None:
    """Run due executions until SIGTERM or Ctrl-C; a second signal ends it at once."""
    with predecessor_told() as predecessor:
        settings = settings_from(config, dsn, processes=processes)
        with password_hidden(settings.database.mask):
            prepare(settings)
            from pgsched.worker import run_worker

            with connected(settings) as conninfo:
                raise typer.Exit(run_worker(settings, conninfo, predecessor))


@contextmanager
def predecessor_told() -> Generator["Predecessor | None"]:
    """Who has started this worker by a reload; it is told, instead of a terminal, what keeps this one from working."""
    from pgsched.worker.generation import Predecessor

    predecessor = Predecessor.of_environment()
    try:
        yield predecessor
    except PgschedError as error:
        if predecessor is None:
            raise
        predecessor.refuse(str(error))
        raise typer.Exit(ExitStatus.CONFIG) from None


@contextmanager
def password_hidden(mask: "Mask") -> Generator[None]:
    """What is wrong with a task module is told in words of its own, which may quote the DSN."""
    try:
        yield
    except TaskModuleError as error:
        raise TaskModuleError(error.module, mask.hide(error.told)) from None


def prepare(settings: "Settings") -> None:
    """Set up the log, and fail on a wrong task module before a server is started for it. Raises: ConfigError."""
    from pgsched.log import Event, Logger, configure_logging
    from pgsched.registry import load_tasks

    if isinstance(sys.stdout, TextIOWrapper):
        # What a task prints is read now, by journalctl or kubectl: not when 8 KiB have gathered. A line in one piece,
        # which PYTHONUNBUFFERED would not see to: several processes write.
        sys.stdout.reconfigure(line_buffering=True)
    log = settings.logging
    is_json = log.is_json(on_terminal=sys.stderr.isatty())
    configure_logging(json=is_json, level=log.level, mask=settings.database.mask)
    load_tasks(settings.tasks.modules, settings.folder)
    if settings.database.is_embedded:
        from pgsched.embedded import NOT_FOR_PRODUCTION

        Logger().warning(Event.EMBEDDED_NOT_FOR_PRODUCTION, reason=NOT_FOR_PRODUCTION)
