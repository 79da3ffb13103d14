"""Databases for tests: on an embedded server made for this run, or on the one that PGSCHED_TEST_DSN names."""

from __future__ import annotations

import itertools
import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgsched.embedded import embedded_server
from pgsched.store.migrating import migrate

if TYPE_CHECKING:
    from collections.abc import Generator

SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}
"""A test's data need not survive the machine; a test that kills the server still finds it whole."""

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Generator[str]:
    """The conninfo of a superuser (or one who may create databases)."""
    given = os.environ.get("PGSCHED_TEST_DSN")
    if given:
        yield given
        return
    with (
        tempfile.TemporaryDirectory(prefix="pgsched-test-", ignore_cleanup_errors=True) as folder,
        embedded_server(f"embedded:{folder}/postgres", settings=SETTINGS) as conninfo,
    ):
        yield conninfo


@pytest.fixture
def empty_database(server: str) -> Generator[str]:
    """The conninfo of a fresh database with nothing in it."""
    with new_database(server) as conninfo:
        yield conninfo


@pytest.fixture(scope="session")
def template(server: str) -> Generator[str]:
    """The name of a migrated database that others are copied from."""
    with new_database(server) as conninfo:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            migrate(connection)
        yield str(psycopg.conninfo.conninfo_to_dict(conninfo)["dbname"])


@pytest.fixture
def database(server: str, template: str) -> Generator[str]:
    """The conninfo of a fresh database with pgsched's tables in it."""
    with new_database(server, template=template) as conninfo:
        yield conninfo


@contextmanager
def new_database(server: str, *, template: str = "template1") -> Generator[str]:
    """A database of its own name, dropped at the end whoever is still connected."""
    name = f"pgsched_test_{os.getpid()}_{next(_numbers)}"
    _execute(server, f'create database "{name}" template "{template}"')
    try:
        yield make_conninfo(server, dbname=name)
    finally:
        _execute(server, f'drop database "{name}" with (force)')


def _execute(server: str, statement: str, *parameters: Any) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement, parameters or None)
