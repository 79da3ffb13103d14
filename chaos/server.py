"""An embedded Postgres of one's own that can be stopped in every way and started again."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pgsched.embedded import embedded_server

if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE_S = 30.0


class Stop(Enum):
    """How a server ends, by the signal that its postmaster gets."""

    FAST = signal.SIGINT
    IMMEDIATE = signal.SIGQUIT
    KILL = signal.SIGKILL


class Server:
    """A running server in a folder of its own, from `start` until `close`."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self._dsn = f"embedded:{folder}"
        self._folder = folder
        self._settings = settings
        self._stack = ExitStack()
        self.conninfo = ""

    @property
    def socket(self) -> str:
        """The path of its Unix socket, for a proxy."""
        parts = conninfo_to_dict(self.conninfo)
        return f"{parts['host']}/.s.PGSQL.{parts.get('port', 5432)}"

    def start(self) -> None:
        self.conninfo = self._stack.enter_context(
            embedded_server(self._dsn, settings=self._settings)
        )

    def let_in(self, subnet: str) -> None:
        """Trust those who come from there; who can come at all is what it listens on."""
        with next(self._folder.glob("**/pg_hba.conf")).open("a") as file:
            file.write(f"host all all {subnet} trust\n")
        with psycopg.connect(self.conninfo, autocommit=True) as admin:
            admin.execute("select pg_reload_conf()")

    def stop(self, how: Stop) -> None:
        """End it and wait until it is gone."""
        [pid_file] = self._folder.glob("**/postmaster.pid")
        pid = int(pid_file.read_text().split()[0])
        os.kill(pid, how.value)
        ends = time.monotonic() + PATIENCE_S
        while _is_there(pid):
            if time.monotonic() > ends:
                raise TimeoutError(f"postmaster {pid} does not end")
            time.sleep(0.01)

    def close(self) -> None:
        self._stack.close()


def _is_there(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
