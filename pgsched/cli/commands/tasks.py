"""`pgsched tasks`: what the task modules declare. Never touches the database."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from pgsched.cli.arguments import AsJson, ConfigFile, Dsn
from pgsched.cli.database import settings_from
from pgsched.cli.output import as_json as as_json_value
from pgsched.cli.output import now, relative, say_json, say_table

if TYPE_CHECKING:
    from pgsched.domain.task import AnyTask

COLUMNS = {
    "task": "task",
    "kind": "kind",
    "schedule": "schedule",
    "next_run": "next run",
    "on_failure": "on failure",
    "timeout": "timeout",
    "isolation": "isolation",
    "function": "function",
    "data": "data",
}
"""Fields of the document, and what they are called in a table."""


def tasks(as_json: AsJson = False, config: ConfigFile = None, dsn: Dsn = None) -> None:
    """List the tasks that the modules of the configuration declare, without touching the database."""
    settings = settings_from(config, dsn)
    from pgsched.registry import load_tasks

    start = now()
    declared = load_tasks(settings.tasks.modules, settings.folder)
    found = [_object(task, start) for _, task in sorted(declared.items())]
    if as_json:
        say_json([{name: as_json_value(value) for name, value in each.items()} for each in found])
        return
    rows = [[_cell(each[field], start) for field in COLUMNS] for each in found]
    say_table(list(COLUMNS.values()), rows)


def _object(task: "AnyTask", start: datetime) -> dict[str, Any]:
    from pgsched.domain.declared import declared

    return declared(task, start)._asdict()


def _cell(value: Any, start: datetime) -> str:
    if isinstance(value, datetime):
        return relative(value, start)
    return value or ""
