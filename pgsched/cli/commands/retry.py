"""`pgsched retry`: makes a failed execution due again."""

from pgsched.cli.arguments import ConfigFile, Dsn, InstanceName, TaskName
from pgsched.cli.database import client_of, settings_from
from pgsched.cli.output import say


def retry(
    task: TaskName, instance: InstanceName, config: ConfigFile = None, dsn: Dsn = None
) -> None:
    """Make a failed execution due now, with all counts anew."""
    with client_of(settings_from(config, dsn)) as client:
        client.retry(task, instance)
    say(f"task {task!r}, instance {instance!r} is due again")
