"""`pgsched config`: is the configuration right, and what does it come to? Never touches the database."""

from pgsched.cli.arguments import ConfigFile, Dsn
from pgsched.cli.database import settings_from
from pgsched.cli.output import say, write


def check(config: ConfigFile = None, dsn: Dsn = None) -> None:
    """Load the configuration and import the task modules, without touching the database."""
    settings = settings_from(config, dsn)
    from pgsched.registry import load_tasks

    tasks = load_tasks(settings.tasks.modules, settings.folder)
    say(f"file     {settings.file or 'none'}")
    say(f"modules  {', '.join(settings.tasks.modules)}")
    say(f"tasks    {len(tasks)}: {', '.join(sorted(tasks))}")


def show(config: ConfigFile = None, dsn: Dsn = None) -> None:
    """Print the effective configuration as YAML, secrets masked."""
    import yaml

    from pgsched.config import settings_as_shown

    settings = settings_from(config, dsn)
    origins = [str(settings.file or "no file"), *settings.overrides]
    text = yaml.safe_dump(settings_as_shown(settings), sort_keys=False, allow_unicode=True)
    say(f"# from {', '.join(origins)}")
    write(text)
