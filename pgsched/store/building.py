"""Who builds indexes beside everybody's work: one at a time, whether it migrates or maintains.

Builds nothing itself, and waits for nobody.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pgsched.errors import ConfigError
from pgsched.store.pooling import loses_session

if TYPE_CHECKING:
    from collections.abc import Generator

    import psycopg

    from pgsched.store.statement import Names


def online_lock(names: Names) -> str:
    """What the advisory lock is named after that whoever builds has."""
    return f"pgsched.migrate.online.{names.table}"


@contextmanager
def building(connection: psycopg.Connection[Any], names: Names, who: str) -> Generator[bool]:
    """Whether nobody else is at it; then nobody can be until the end. The session is not to be used for anything else.

    Raises: ConfigError where a pooler would lose the lock.
    """
    if loses_session(connection):
        raise ConfigError(
            f"{who} holds a lock over several transactions, which a pooler in transaction mode would lose",
            key="DSN",
            allowed="one that leads to Postgres itself, or through a pooler in session mode",
        )
    key = (online_lock(names),)
    taken = connection.execute(
        "select pg_try_advisory_lock(hashtextextended(%s, 0))", key
    ).fetchone()
    is_alone = bool(taken and taken[0])
    try:
        yield is_alone
    finally:
        if is_alone and not connection.closed:
            connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", key)
