"""`pgsched migrate`: brings the schema up to date, or tells what is missing."""

from typing import TYPE_CHECKING, Annotated

import typer

from pgsched.cli.arguments import ConfigFile, Dsn, at_most_one
from pgsched.cli.database import connected, settings_from
from pgsched.cli.exits import ExitStatus
from pgsched.cli.output import say, write
from pgsched.errors import did_you_mean

ROLES = ("migrate", "worker", "schedule", "read")

LONGEST_ROLE_BYTES = 63
"""Postgres cuts longer ones silently: another role might be meant."""

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
    print_grants: Annotated[
        bool,
        typer.Option(
            "--print-grants",
            help="Change nothing: print the SQL that gives each kind of role what it needs.",
        ),
    ] = False,
    role: Annotated[
        list[str] | None,
        typer.Option(
            "--role",
            metavar="KIND=NAME",
            help="With --print-grants, once or more: only these roles. KIND is migrate, worker, schedule or read.",
        ),
    ] = None,
    config: ConfigFile = None,
    dsn: Dsn = None,
) -> None:
    """Create or update the table. Safe to repeat, and to run from many hosts at once."""
    at_most_one({"--check": check, "--dry-run": dry_run, "--print-grants": print_grants})
    if role and not print_grants:
        raise typer.BadParameter("--role is for --print-grants")
    roles = _roles(role or [])
    settings = settings_from(config, dsn)
    if print_grants:
        _print_grants(settings, roles)
    elif dry_run:
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


def _print_grants(settings: "Settings", roles: dict[str, str]) -> None:
    from pgsched.store.connecting import connection
    from pgsched.store.granting import grants, schema_of
    from pgsched.store.statement import Names

    database = settings.database
    names = Names(database.table, database.schema_name)
    if names.schema is None and database.dsn is not None:
        with connected(settings) as conninfo, connection(conninfo) as opened:
            names = Names(names.table, schema_of(opened, names))
    write(grants(names, roles))


def _roles(given: list[str]) -> dict[str, str]:
    """The names of the roles by their kinds; of all kinds where none is given."""
    if not given:
        return {kind: f"pgsched_{kind}" for kind in ROLES}
    roles = {}
    for text in given:
        kind, _, name = text.partition("=")
        size_bytes = len(name.encode("utf-8", "surrogateescape"))
        is_name = name.isprintable() and 1 <= size_bytes <= LONGEST_ROLE_BYTES
        if kind not in ROLES or kind in roles or not is_name:
            hint = "" if kind in ROLES else did_you_mean(kind, ROLES)
            raise typer.BadParameter(
                f"{text!r} is no KIND=NAME{hint}; allowed: each of {', '.join(ROLES)} once, "
                f"and a name of 1 to {LONGEST_ROLE_BYTES} bytes",
                param_hint="--role",
            )
        roles[kind] = name
    return roles


def _pending(settings: "Settings") -> "Sequence[Migration]":
    from pgsched.store.connecting import connection
    from pgsched.store.migrating import pending

    database = settings.database
    with connected(settings) as conninfo, connection(conninfo) as opened:
        return pending(opened, table=database.table, schema=database.schema_name)


def _list(what: str, migrations: "Sequence[Migration]") -> None:
    for migration in migrations:
        say(f"{what} {migration.version:04} {migration.name}")
