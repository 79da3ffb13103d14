"""`pgsched dev`: everything in one terminal, on an embedded Postgres unless a database is given."""

import typer

from pgsched.cli.arguments import ConfigFile, Dsn
from pgsched.cli.commands.worker import predecessor_told, prepare
from pgsched.cli.database import connected, settings_from


def dev(config: ConfigFile = None, dsn: Dsn = None) -> None:
    """Start a private Postgres if no database is given, migrate it, and run a worker."""
    from pgsched.config import EMBEDDED

    with predecessor_told() as predecessor:
        settings = settings_from(config, dsn)
        if settings.database.dsn is None:
            settings = settings_from(config, EMBEDDED)
        prepare(settings)
        from pgsched.store.connecting import connection
        from pgsched.store.migrating import migrate
        from pgsched.worker import run_worker

        database = settings.database
        with connected(settings) as conninfo:
            with connection(conninfo) as opened:
                migrate(opened, table=database.table, schema=database.schema_name)
            raise typer.Exit(run_worker(settings, conninfo, predecessor))
