"""`pgsched schedule`: one execution, never over one that is there."""

import typer

from pgsched.cli.arguments import (
    At,
    ConfigFile,
    Data,
    DataFile,
    Dsn,
    IfExists,
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
from pgsched.cli.exits import ExitStatus
from pgsched.cli.output import note, say


def schedule(
    task: TaskName,
    instance: InstanceName,
    *,
    data: Data = None,
    data_file: DataFile = None,
    at: At = None,
    in_: In = None,
    priority: Priority = None,
    if_exists: IfExists = "fail",
    config: ConfigFile = None,
    dsn: Dsn = None,
) -> None:
    """Schedule an execution: now, at a time, or in a while. Never overwrites one that is there."""
    at_most_one({"--at": at is not None, "--in": in_ is not None})
    time, delay, value = parsed_time(at), parsed_delay(in_), parsed_data(data, data_file)
    with client_of(settings_from(config, dsn)) as client:
        is_new = client.schedule(task, instance, value, at=time, in_=delay, priority=priority)
    if is_new:
        say(f"scheduled task {task!r}, instance {instance!r}")
        return
    note(f"task {task!r}, instance {instance!r} is already there: left as it is")
    if if_exists == "fail":
        raise typer.Exit(ExitStatus.CANNOT)
