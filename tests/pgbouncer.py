"""A PgBouncer of the test's own, on a Unix socket, where the machine has one; the tests that need it skip elsewhere."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgsched.embedded.account import Account
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg.abc import ConnDict

PROGRAM = shutil.which(
    "pgbouncer", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
)

PORT = 6432
"""Part of the socket's name only."""

SERVER_CONNECTIONS = 3
"""Fewer than a worker and its tests have connections: sessions do change hands."""

TRACES = (
    "select current_setting('enable_sort'), current_setting('enable_seqscan'), current_setting('statement_timeout'),"
    " (select count(*) from pg_prepared_statements), (select count(*) from pg_listening_channels())"
)
NO_TRACES = {("on", "on", "0", 0, 0)}


class PgBouncer:
    """A pooler in front of the server of `conninfo`, for each of its databases."""

    def __init__(self, folder: Path, conninfo: str, mode: str, more: str) -> None:
        self._account = Account.of_server()
        self._folder = folder
        server = conninfo_to_dict(conninfo)
        del server["dbname"]
        self._user = str(server["user"])
        self._ini = folder / "pgbouncer.ini"
        self._ini.write_text(self._settings(server, mode) + more)
        (folder / "users").write_text(f'"{self._user}" ""\n')
        self._account.give(folder)
        self._process: subprocess.Popen[bytes] | None = None

    def conninfo(self, database: str) -> str:
        """Of a database through the pooler, by the conninfo of the database itself."""
        name = conninfo_to_dict(database)["dbname"]
        return make_conninfo(host=str(self._folder), port=PORT, user=self._user, dbname=name)

    def start(self) -> None:
        """As somebody who is not root: PgBouncer refuses to be."""
        assert PROGRAM is not None
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, self._ini], stdout=log, stderr=log, **self._account.process_options()
            )
        wait_until(self._is_answering, describe=lambda: f"PgBouncer: {self.log}")

    def stop(self) -> None:
        """At once, with all its connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=10)
            self._process = None

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    def _is_answering(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        ping = psycopg.pq.PGconn.ping(self.conninfo("dbname=postgres").encode())
        return ping == psycopg.pq.Ping.OK

    def _settings(self, server: ConnDict, mode: str) -> str:
        return (
            "[databases]\n"
            f"* = {make_conninfo('', **server)}\n"
            "[pgbouncer]\n"
            f"pool_mode = {mode}\n"
            f"default_pool_size = {SERVER_CONNECTIONS if mode == 'transaction' else 50}\n"
            f"unix_socket_dir = {self._folder}\n"
            f"listen_port = {PORT}\n"
            "listen_addr =\n"
            "auth_type = trust\n"
            f"auth_file = {self._folder}/users\n"
        )


@pytest.fixture(scope="session")
def pooler(server: str) -> Generator[PgBouncer]:
    """In transaction mode."""
    with pgbouncer(server, "transaction") as pooler:
        yield pooler


@pytest.fixture
def pooled(pooler: PgBouncer, database: str) -> str:
    """The conninfo of a fresh, migrated database through it."""
    return pooler.conninfo(database)


def traces(conninfo: str) -> set[tuple[object, ...]]:
    """What is left in the sessions behind a pooler, all of them: each is held while the next is asked."""
    found = set()
    with ExitStack() as stack:
        for _ in range(SERVER_CONNECTIONS):
            connection = stack.enter_context(psycopg.connect(conninfo, prepare_threshold=None))
            found |= set(connection.execute(TRACES).fetchall())
    return found


@contextmanager
def pgbouncer(conninfo: str, mode: str, more: str = "") -> Generator[PgBouncer]:
    """One that runs within, in a folder whose name is short enough for a socket. Skips where there is none."""
    if PROGRAM is None:
        pytest.skip("there is no pgbouncer on the PATH or in /usr/sbin")
    with tempfile.TemporaryDirectory(
        prefix="pgsched-", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        pooler = PgBouncer(Path(folder), conninfo, mode, more)
        pooler.start()
        try:
            yield pooler
        finally:
            pooler.stop()
