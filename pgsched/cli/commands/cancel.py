"""`pgsched cancel`: deletes an execution."""

from pgsched.cli.arguments import ConfigFile, Dsn, InstanceName, TaskName
from pgsched.cli.database import client_of, settings_from
from pgsched.cli.output import say


def cancel(
    task: TaskName, instance: InstanceName, config: ConfigFile = None, dsn: Dsn = None
) -> None:
    """Delete an execution that isn't running."""
    with client_of(settings_from(config, dsn)) as client:
        client.cancel(task, instance)
    say(f"cancelled task {task!r}, instance {instance!r}")
