"""`pgsched schedule`: one execution, or with --from-file all those of a file; never over one that is there."""

import typer

from pgsched.cli.arguments import (
    AsJson,
    At,
    ConfigFile,
    Data,
    DataFile,
    Dsn,
    FromFile,
    FromLine,
    IfExists,
    In,
    OptionalInstanceName,
    OptionalTaskName,
    Priority,
    at_most_one,
    parsed_data,
    parsed_delay,
    parsed_time,
)
from pgsched.cli.database import client_of, settings_from
from pgsched.cli.exits import ExitStatus
from pgsched.cli.output import note, say


def schedule(
    task: OptionalTaskName = None,
    instance: OptionalInstanceName = None,
    *,
    data: Data = None,
    data_file: DataFile = None,
    from_file: FromFile = None,
    from_line: FromLine = None,
    at: At = None,
    in_: In = None,
    priority: Priority = None,
    if_exists: IfExists = "fail",
    as_json: AsJson = False,
    config: ConfigFile = None,
    dsn: Dsn = None,
) -> None:
    """Schedule one execution, or all of a file: now, at a time, or in a while. Never overwrites what is there."""
    at_most_one({"--at": at is not None, "--in": in_ is not None})
    if from_file is not None:
        single = {"TASK": task, "INSTANCE": instance, "--data": data, "--data-file": data_file}
        for name, given in single.items():
            at_most_one({name: given is not None, "--from-file": True})
        from pgsched.cli.load.request import LoadRequest, load

        request = LoadRequest(
            file=from_file,
            from_line=from_line or 1,
            at=at,
            in_=in_,
            priority=priority,
            if_exists=if_exists,
            as_json=as_json,
            config=config,
            dsn=dsn,
        )
        raise typer.Exit(load(request))
    _refuse_without_file({"--from-line": from_line is not None, "--json": as_json})
    task, instance = _required("TASK", task), _required("INSTANCE", instance)
    time, delay, value = parsed_time(at), parsed_delay(in_), parsed_data(data, data_file)
    with client_of(settings_from(config, dsn)) as client:
        is_new = client.schedule(task, instance, value, at=time, in_=delay, priority=priority)
    if is_new:
        say(f"scheduled task {task!r}, instance {instance!r}")
        return
    note(f"task {task!r}, instance {instance!r} is already there: left as it is")
    if if_exists == "fail":
        raise typer.Exit(ExitStatus.CANNOT)


def _required(name: str, text: str | None) -> str:
    if text is None:
        raise typer.BadParameter(f"missing argument {name!r} (or --from-file FILE)")
    return text


def _refuse_without_file(given: dict[str, bool]) -> None:
    for name, is_given in given.items():
        if is_given:
            raise typer.BadParameter("it goes with --from-file only", param_hint=name)
