"""`pgsched list`: executions as a table or as JSON."""

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from pgsched.cli.arguments import AsJson, ConfigFile, Dsn, StateName, whole
from pgsched.cli.database import connected, settings_from
from pgsched.cli.output import as_json as as_json_value
from pgsched.cli.output import note, one_line, relative, say_json, say_table
from pgsched.domain.instant import iso
from pgsched.domain.text import cut

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgsched.config import Settings
    from pgsched.domain.execution import Execution

ROWS_SHOWN = 50
"""What a person reads of a table; a program gets all."""

LONGEST_ERROR = 80
LONGEST_NAME = 200
"""Other programs may insert names of any length, and each row of a table is as wide as its widest."""


def list_executions(
    task: Annotated[
        str | None, typer.Option("--task", metavar="NAME", help="Only those of this task.")
    ] = None,
    state: StateName = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            parser=whole(least=1),
            help=f"At most so many [default: {ROWS_SHOWN} in a table, all with --json].",
        ),
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    dsn: Dsn = None,
) -> None:
    """List executions, the next due first, then failed ones."""
    wanted = limit if limit or as_json else ROWS_SHOWN + 1
    settings = settings_from(config, dsn)
    now, found = _found(settings, task, state, wanted)
    if as_json:
        say_json([_as_object(execution) for execution in found])
        return
    shown = found if limit else found[:ROWS_SHOWN]
    _print_table(shown, now)
    if len(shown) < len(found):
        note(
            f"{ROWS_SHOWN} executions are shown and there are more: use --limit N, or --json for all"
        )


def _found(
    settings: "Settings", task: str | None, state: str | None, limit: int | None
) -> "tuple[datetime, list[Execution]]":
    """The executions, and the time of the clock by which they are due."""
    from pgsched.client import Client
    from pgsched.store.connecting import connection
    from pgsched.store.operation import drive
    from pgsched.store.picking import database_now
    from pgsched.store.statement import Names

    names = Names(settings.database.table, settings.database.schema_name)
    with connected(settings) as conninfo, connection(conninfo) as opened:
        client = Client(opened, table=names.table, schema=names.schema)
        now = drive(opened, names, database_now(), is_atomic=False)
        return now, client.list(task=task, state=state, limit=limit)


def _as_object(execution: "Execution") -> dict[str, object]:
    return {name: as_json_value(value) for name, value in asdict(execution).items()}


Cell: TypeAlias = "Callable[[Execution, datetime], str]"

COLUMNS: dict[str, Cell] = {
    "task": lambda execution, _: cut(execution.task_name, LONGEST_NAME),
    "instance": lambda execution, _: cut(execution.task_instance, LONGEST_NAME),
    "state": lambda execution, _: execution.state.value,
    "due": lambda execution, now: _when(execution.execution_time, now),
    "failures": lambda execution, _: str(execution.consecutive_failures),
    "priority": lambda execution, _: "" if execution.priority is None else str(execution.priority),
    "picked by": lambda execution, _: cut(execution.picked_by or "", LONGEST_NAME),
}
FAILED_COLUMNS: dict[str, Cell] = {
    "attempts": lambda execution, _: str(getattr(execution, "attempts", "")),
    "failed at": lambda execution, now: _when(getattr(execution, "failed_at", None), now),
    "error": lambda execution, _: one_line(getattr(execution, "error", ""), limit=LONGEST_ERROR),
}


def _print_table(executions: "list[Execution]", now: datetime) -> None:
    from pgsched.domain.execution import FailedExecution

    if not executions:
        note("no executions")
        return
    has_failed = any(isinstance(execution, FailedExecution) for execution in executions)
    columns = {**COLUMNS, **(FAILED_COLUMNS if has_failed else {})}
    rows = [[cell(execution, now) for cell in columns.values()] for execution in executions]
    say_table(list(columns), rows)


def _when(instant: datetime | None, now: datetime) -> str:
    """To the second: `2030-01-31T09:00:00Z (in 5m)`."""
    return f"{iso(instant.replace(microsecond=0))} ({relative(instant, now)})" if instant else ""
