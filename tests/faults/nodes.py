"""A primary and its streaming standby: real servers that are killed, and promoted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from chaos.proxy import Proxy
from pgsched.embedded.account import Account
from pgsched.embedded.binaries import find_binaries, runnable_by
from tests.waiting import wait_until

SETTINGS = {
    "fsync": "off",
    "wal_keep_size": "64MB",
    "wal_receiver_timeout": "60s",
    "wal_sender_timeout": "0",
}


class Node:
    """One server, in a folder of its own below /tmp, with its socket in it; it also listens on `address`, if any."""

    def __init__(self, address: str = "") -> None:
        self.address = address
        self._account = Account.of_server()
        self._binaries = runnable_by(self._account, find_binaries())
        self.folder = Path(tempfile.mkdtemp(prefix="pgsched-test-", dir="/tmp"))
        self._account.give(self.folder)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def conninfo(self) -> str:
        return make_conninfo(host=str(self.folder), user="postgres", dbname="postgres")

    def make(self) -> None:
        """An empty cluster."""
        options = ("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
        self._run("initdb", "-U", "postgres", "--auth=trust", *options)
        with (self.folder / "data" / "pg_hba.conf").open("a") as file:
            file.write("host all all samenet trust\n")

    def copy(self, primary: str) -> None:
        """A standby that follows the server at this conninfo."""
        self._run(
            "pg_basebackup", "--dbname", primary, "--write-recovery-conf", "--checkpoint=fast", "--no-sync"
        )  # fmt: skip

    def start(self) -> None:
        settings = {**SETTINGS, "listen_addresses": self.address}
        options = [f"--{name}={value}" for name, value in settings.items()]
        program = self._binaries.program("postgres")
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [program, "-D", self.folder / "data", "-k", self.folder, *options],
                stdout=output,
                stderr=output,
                **self._account.process_options(),
            )
        wait_until(self._is_answering, describe=f"the server to start; see {log}")

    def kill(self) -> None:
        """As if its machine were gone: postmaster and backends, none of which can finish anything."""
        if self._process is None:
            return
        pid = self._process.pid
        os.kill(pid, signal.SIGSTOP)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        self._process.wait(timeout=10)
        self._process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def take_no_writes(self) -> None:
        """Without closing a connection."""
        self.sql("alter system set default_transaction_read_only = on")
        self.sql("select pg_reload_conf()")
        wait_until(
            lambda: self.sql("show transaction_read_only") == [("on",)], describe="the reload"
        )

    def sql(self, statement: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        conninfo = make_conninfo(self.conninfo, dbname=database)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _is_answering(self) -> bool:
        try:
            self.sql("select 1")
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        command = [self._binaries.program(program), "-D", str(self.folder / "data"), *arguments]
        done = self._account.run(command)
        assert not done.returncode, done.stderr


class Cluster:
    """The primary that is, and a standby made for one failover; the replication between them can be cut."""

    def __init__(self, address: str = "") -> None:
        self.primary = Node(address)
        self.primary.make()
        self.primary.start()
        self.standby: Node | None = None
        self._gone: list[Node] = []

    def follow(self, address: str = "") -> Proxy:
        """A new standby; answers the proxy that its replication goes through."""
        proxy = Proxy(str(self.primary.folder / ".s.PGSQL.5432"))
        self.standby = Node(address)
        self.standby.copy(make_conninfo(host="127.0.0.1", port=proxy.port, user="postgres"))
        self.standby.start()
        self.wait_replayed()
        return proxy

    def commit_synchronously(self, *, is_on: bool) -> None:
        """Whether a commit waits until the standby has it."""
        names = "*" if is_on else ""
        self.primary.sql(f"alter system set synchronous_standby_names = '{names}'")
        self.primary.sql("select pg_reload_conf()")

    def wait_replayed(self) -> None:
        standby = self._standby
        [(sent,)] = self.primary.sql("select pg_current_wal_lsn()")
        wait_until(
            lambda: standby.sql(f"select pg_last_wal_replay_lsn() >= '{sent}'") == [(True,)],
            describe="the standby to be up to date",
        )

    def soon(self) -> datetime:
        """Late enough to be replicated first."""
        return datetime.now(UTC) + timedelta(seconds=1)

    def promote(self) -> None:
        """The standby takes over, whatever the old primary does."""
        standby = self._standby
        assert standby.sql("select pg_promote()") == [(True,)]
        self._gone.append(self.primary)
        self.primary, self.standby = standby, None

    def remove_gone(self) -> None:
        for node in (*self._gone, *([self.standby] if self.standby else [])):
            node.remove()
        self._gone, self.standby = [], None

    def close(self) -> None:
        self.remove_gone()
        self.primary.remove()

    @property
    def _standby(self) -> Node:
        assert self.standby is not None
        return self.standby
