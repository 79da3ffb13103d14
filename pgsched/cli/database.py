"""From options to settings, from settings to a database: the user's, or an embedded one while it is needed."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pgsched.client import Client
    from pgsched.config import Settings


def settings_from(
    config: Path | None, dsn: str | None, *, processes: int | None = None
) -> Settings:
    """The settings of the named file, or of the first default one that exists. Raises: ConfigError."""
    from pgsched.config import default_file, load_settings

    return load_settings(config or default_file(), dsn=dsn, processes=processes)


@contextmanager
def connected(settings: Settings) -> Generator[str]:
    """The conninfo of a database that is there; an embedded server runs within. Raises: ConfigError."""
    dsn = settings.database.conninfo
    # Of each connection that breaks psycopg says how it was cleaned up; that it broke is told in a line of ours.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    if not settings.database.is_embedded:
        yield dsn
        return
    from pgsched.embedded import embedded_server

    with embedded_server(dsn) as conninfo:
        yield conninfo


@contextmanager
def client_of(settings: Settings) -> Generator[Client]:
    """A client for one command. Raises: ConfigError, DatabaseUnavailable."""
    from pgsched.client import Client

    database = settings.database
    with (
        connected(settings) as conninfo,
        Client(conninfo, table=database.table, schema=database.schema_name) as client,
    ):
        yield client
