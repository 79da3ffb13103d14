"""A server of the test's own, workers that reach it through a proxy, and a project with tasks that write a diary."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from chaos.proxy import Proxy
from chaos.server import Server
from pgsched.store.migrating import migrate
from tests.postgres import SETTINGS
from tests.worker.running import Project

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture(scope="module")
def own_server() -> Generator[Server]:
    with tempfile.TemporaryDirectory(prefix="pgsched-test-", ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder, "postgres"), SETTINGS)
        server.start()
        with closing(server):
            yield server


@pytest.fixture
def own_database(own_server: Server) -> str:
    """The conninfo of a fresh, migrated database on it, as somebody who is no superuser."""
    return fresh_database(own_server.conninfo)


def fresh_database(server: str) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("drop database if exists faults with (force)")
        connection.execute("drop role if exists app")
        connection.execute("create role app login")
        connection.execute("create database faults owner app")
    conninfo = make_conninfo(server, dbname="faults", user="app")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        migrate(connection)
    return conninfo


@pytest.fixture
def proxy(own_server: Server) -> Generator[Proxy]:
    with closing(Proxy(own_server.socket)) as proxy:
        yield proxy


@pytest.fixture
def project(tmp_path: Path, own_database: str, proxy: Proxy) -> Generator[Project]:
    """Its client goes straight to the server, its workers through the proxy."""
    project = Project(tmp_path, own_database)
    project.conninfo = make_conninfo(
        host="127.0.0.1", port=proxy.port, dbname="faults", user="app", sslmode="disable"
    )
    yield project
    project.client.close()
