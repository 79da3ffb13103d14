"""`pgsched migrate`: brings the schema up to date, or tells what is missing."""

from typing import TYPE_CHECKING, Annotated

import typer

from pgsched.cli.arguments import ConfigFile, Dsn, at_most_one
from pgsched.cli.database import connected, settings_from
from pgsched.cli.exits import ExitStatus
from pgsched.cli.output import say, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsched.config import Settings
    from pgsched.store.migrating import Migration


def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing: exit 0 when up to date, 1 when not.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Change nothing: print the SQL of what is pending (of everything, where no database is given).",
        ),
    ] = False,
    config: ConfigFile = None,
    dsn: Dsn = None,
) -> None:
    """Create or update the table. Safe to repeat, and to run from many hosts at once."""
    at_most_one({"--check": check, "--dry-run": dry_run})
    settings = settings_from(config, dsn)
    if dry_run:
        _print_script(settings)
    elif check:
        _check(settings)
    else:
        _migrate(settings)


def _migrate(settings: "Settings") -> None:
    from pgsched.store.connecting import connection
    from pgsched.store.migrating import migrate as apply
    from pgsched.store.migrating import needed_version

    database = settings.database
    with connected(settings) as conninfo, connection(conninfo) as opened:
        applied = apply(opened, table=database.table, schema=database.schema_name)
    _list("applied", applied)
    say(f"table {database.table!r} is up to date: schema version {needed_version()}")


def _check(settings: "Settings") -> None:
    if missing := _pending(settings):
        _list("pending", missing)
        raise typer.Exit(ExitStatus.CANNOT)
    say(f"table {settings.database.table!r} is up to date")


def _print_script(settings: "Settings") -> None:
    from pgsched.store.migrating import all_migrations, script

    database = settings.database
    migrations = all_migrations() if database.dsn is None else _pending(settings)
    if migrations:
        write(script(migrations, table=database.table, schema=database.schema_name))
    else:
        write("-- up to date: nothing to apply\n")


def _pending(settings: "Settings") -> "Sequence[Migration]":
    from pgsched.store.connecting import connection
    from pgsched.store.migrating import pending

    database = settings.database
    with connected(settings) as conninfo, connection(conninfo) as opened:
        return pending(opened, table=database.table, schema=database.schema_name)


def _list(what: str, migrations: "Sequence[Migration]") -> None:
    for migration in migrations:
        say(f"{what} {migration.version:04} {migration.name}")
