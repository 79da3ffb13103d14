"""`pgsched reschedule`: changes what it is given of an execution, and nothing else."""

from datetime import timedelta
from typing import Annotated

import typer

from pgsched.cli.arguments import (
    At,
    ConfigFile,
    Data,
    DataFile,
    Dsn,
    In,
    InstanceName,
    Priority,
    TaskName,
    at_most_one,
    parsed_data,
    parsed_delay,
    parsed_time,
)
from pgsched.cli.database import client_of, settings_from
from pgsched.cli.output import say


def reschedule(
    task: TaskName,
    instance: InstanceName,
    *,
    at: At = None,
    in_: In = None,
    now: Annotated[bool, typer.Option("--now", help="Make it due now.")] = False,
    data: Data = None,
    data_file: DataFile = None,
    priority: Priority = None,
    config: ConfigFile = None,
    dsn: Dsn = None,
) -> None:
    """Change the time, data or priority of an execution that isn't running."""
    from pgsched.client import UNCHANGED

    at_most_one({"--at": at is not None, "--in": in_ is not None, "--now": now})
    if not now and all(given is None for given in (at, in_, data, data_file, priority)):
        raise typer.BadParameter(
            "nothing to change: give --at, --in, --now, --data, --data-file or --priority"
        )
    time, delay, value = parsed_time(at), parsed_delay(in_), parsed_data(data, data_file)
    with client_of(settings_from(config, dsn)) as client:
        client.reschedule(
            task,
            instance,
            at=UNCHANGED if time is None else time,
            in_=timedelta(0) if now else delay,
            data=UNCHANGED if data is None and data_file is None else value,
            priority=UNCHANGED if priority is None else priority,
        )
    say(f"rescheduled task {task!r}, instance {instance!r}")
