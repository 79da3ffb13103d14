"""`pgsched maintenance`: rebuilds indexes that are broken or far too large, while everybody goes on working."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgsched.cli.arguments import ConfigFile, Dsn, whole
from pgsched.cli.database import connected, settings_from
from pgsched.cli.exits import ExitStatus
from pgsched.cli.output import note, say, write

DONE = {"reindex": "rebuilt", "create": "built", "drop": "dropped"}

if TYPE_CHECKING:
    from psycopg import Connection

    from pgsched.store.maintaining import Repaired
    from pgsched.store.statement import Names


def maintenance(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing: print the SQL.")
    ] = False,
    bloat: Annotated[
        int,
        typer.Option(
            "--bloat",
            metavar="N",
            parser=whole(least=2),
            help="Rebuild what is N times as large as it needs to be.",
        ),
    ] = 3,
    config: ConfigFile = None,
    dsn: Dsn = None,
) -> None:
    """Rebuild invalid, missing and bloated indexes of the tables; nobody is kept from working.

    Takes the owner of the tables or, on Postgres 17 and newer, MAINTAIN. Exits 1 where somebody else is at it, or where
    something could not be done.
    """
    settings = settings_from(config, dsn)
    from pgsched.store.connecting import connection
    from pgsched.store.statement import Names

    names = Names(settings.database.table, settings.database.schema_name)
    act = _print if dry_run else _maintain
    with (
        connected(settings) as conninfo,
        connection(conninfo, name="pgsched maintenance") as opened,
    ):
        act(opened, names, bloat)


def _print(opened: "Connection[Any]", names: "Names", bloat: int) -> None:
    from pgsched.store.maintaining import planned

    for repair in planned(opened, names, bloated=bloat):
        text = repair.sql.rstrip(";")
        write(f"{text};  -- {repair.reason.value}, {_size(repair.size_bytes)}\n")


def _maintain(opened: "Connection[Any]", names: "Names", bloat: int) -> None:
    from pgsched.store.maintaining import maintain

    done = []
    for repaired in maintain(opened, names, bloated=bloat):
        done.append(repaired)
        _tell(repaired)
    say(f"table {names.table!r}: {_size(sum(each.won_bytes for each in done))} won")
    if any(each.problem for each in done):
        raise typer.Exit(ExitStatus.CANNOT)


def _tell(repaired: "Repaired") -> None:
    repair = repaired.repair
    what = f"{repair.name} ({repair.reason.value})"
    if repaired.problem:
        note(f"not done: {what}: {repaired.problem}")
    else:
        say(f"{DONE[repair.sql.split()[0]]} {what}: {_size(repaired.won_bytes)} won")


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f} MB"
