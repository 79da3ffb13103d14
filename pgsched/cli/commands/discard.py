"""`pgsched discard`: deletes a failed execution."""

from pgsched.cli.arguments import ConfigFile, Dsn, InstanceName, TaskName
from pgsched.cli.database import client_of, settings_from
from pgsched.cli.output import say


def discard(
    task: TaskName, instance: InstanceName, config: ConfigFile = None, dsn: Dsn = None
) -> None:
    """Delete a failed execution."""
    with client_of(settings_from(config, dsn)) as client:
        client.discard(task, instance)
    say(f"discarded task {task!r}, instance {instance!r}")
