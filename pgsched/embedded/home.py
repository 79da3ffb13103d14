"""The folder of an embedded server: what lies where in it, and how its data are made.

pgsched-embedded    says that the folder is ours
users.lock          shared by all who use the server; its keeper waits for it
server.lock         held by whoever starts the server, then by keeper and server: free means that none is left
data/               the cluster
socket              names the folder of the server's socket
server.log          what keeper and server say
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgsched.errors import EmbeddedServerError

if TYPE_CHECKING:
    from pgsched.embedded.account import Account
    from pgsched.embedded.binaries import Binaries

DEFAULT = "embedded"
PREFIX = "embedded:"
MARKER = "pgsched-embedded"

PORT = 5432
"""Part of the socket's name only. Said on both sides, as a PGPORT in the environment would change either."""

BUILTIN_LOCALES_SINCE = 17


@dataclass(frozen=True, slots=True)
class Home:
    """A private folder: the data, the locks, the log."""

    folder: Path

    @classmethod
    def of(cls, dsn: str, major: int) -> Home:
        """The folder that a DSN names; by default one below the user's own. Raises: EmbeddedServerError."""
        named = dsn.removeprefix(PREFIX) if dsn.startswith(PREFIX) else ""
        try:
            folder = Path(named).expanduser() if named else _default_folder(major)
        except RuntimeError as error:
            raise EmbeddedServerError(
                f"the home folder is not known ({error}): use embedded:FOLDER"
            ) from None
        return cls(folder.absolute())

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def users_lock(self) -> Path:
        return self.folder / "users.lock"

    @property
    def server_lock(self) -> Path:
        return self.folder / "server.lock"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def sockets(self) -> Path | None:
        """The folder of the server's socket, if one has been made."""
        try:
            return Path((self.folder / "socket").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def prepare(self) -> None:
        """Make the folder, or refuse one that is somebody else's. Raises: EmbeddedServerError, OSError."""
        marker = self.folder / MARKER
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # In this order: whoever comes at the same moment makes the marker before anything else.
        if any(self.folder.iterdir()) and not marker.exists():
            raise EmbeddedServerError(
                f"{self.folder} is not empty, and not a folder of pgsched's: choose another"
            )
        marker.touch(mode=0o600)

    def conninfo(self) -> str:
        """How to connect."""
        from psycopg.conninfo import make_conninfo

        return make_conninfo(host=str(self.sockets), port=PORT, user="postgres", dbname="postgres")

    def is_answering(self) -> bool:
        """Whether the server takes connections, or would if it were not full."""
        from psycopg import pq  # takes as long as the start of the server, which goes on meanwhile

        sockets = self.sockets
        if sockets is None or not (sockets / f".s.PGSQL.{PORT}").exists():
            return False
        return pq.PGconn.ping(f"{self.conninfo()} connect_timeout=2".encode()) == pq.Ping.OK

    def last_words(self, *, since: int) -> str:
        """Why the server ended, by its log from a position on: the last complaint, or else the last line."""
        with self.log.open("rb") as log:
            log.seek(since)
            text = log.read().decode(errors="replace")
        text = re.sub(r"/proc/self/fd/\d+", lambda _: str(self.data), text)
        complaints = re.findall(r"(?:FATAL|PANIC|ERROR|[Ee]rror):\s+(.*)", text)
        lines = complaints or [line for line in text.splitlines() if line.strip()]
        return f"{lines[-1] if lines else 'it said nothing'} (see {self.log})"

    # For whoever holds server.lock

    def make_data(self, binaries: Binaries, account: Account) -> None:
        """Have data that these binaries and this account can serve. Raises: EmbeddedServerError, OSError."""
        for leftover in self.folder.glob("data.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if self.data.exists():
            self._check_data(binaries, account)
            return
        # Made beside its place and renamed: what was interrupted never looks whole.
        fresh = Path(tempfile.mkdtemp(prefix="data.new-", dir=self.folder))
        account.give(fresh)
        _initdb(fresh, binaries, account)
        fresh.rename(self.data)

    def make_sockets(self, account: Account) -> Path:
        """A private folder for the socket, in /tmp as a socket's whole path may have some 100 bytes.

        The one of last time where it is still there: then a worker finds the server again after its keeper was killed.
        Not in XDG_RUNTIME_DIR: that is gone when the user logs out, and set in some of a user's processes only.
        """
        last = self.sockets
        if last is not None and _is_private(last, account):
            for left in last.iterdir():
                left.unlink()
            return last
        fresh = Path(tempfile.mkdtemp(prefix="pgsched-", dir="/tmp"))
        account.give(fresh)
        (self.folder / "socket").write_text(str(fresh), encoding="utf-8")
        return fresh

    def forget_last_server(self) -> None:
        """Remove the note of a server that did not end in order, or a process that has its number now stops the next.

        Unless that process does serve these data, started by somebody else's hand: then Postgres will say so.
        """
        note = self.data / "postmaster.pid"
        with suppress(OSError, ValueError):
            pid = int(note.read_text(encoding="ascii").split("\n", 1)[0])
            try:
                is_serving = Path(f"/proc/{pid}/cwd").samefile(self.data)
            except FileNotFoundError:
                is_serving = not Path(
                    "/proc/self/cwd"
                ).exists()  # where there is no /proc: Postgres judges
            if not is_serving:
                note.unlink()

    def _check_data(self, binaries: Binaries, account: Account) -> None:
        found = (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        if found != str(binaries.major):
            raise EmbeddedServerError(
                f"the data in {self.folder} were made by Postgres {found}, {binaries.folder} holds "
                f"{binaries.version}: choose another folder, or point PGSCHED_PG_BIN to a Postgres {found}"
            )
        owner = self.data.stat().st_uid
        if owner != account.uid:
            raise EmbeddedServerError(
                f"the data in {self.folder} belong to user id {owner}, the server would run as {account.uid}: "
                "run pgsched as the user who made them, or choose another folder"
            )


def _initdb(folder: Path, binaries: Binaries, account: Account) -> None:
    options = ["--username=postgres", "--encoding=UTF8", "--no-sync", "--no-instructions"]
    # Trust, as the only way in is a socket in a folder of the server's own account, mode 0700.
    options.append("--auth=trust")
    for locale in _locales(binaries.major):
        with account.reach(folder) as (name, files):
            command = [binaries.program("initdb"), "-D", name, *options, *locale]
            done = account.run(command, files=files)
        if not done.returncode:
            return
    complaints = re.findall(r"(?:error|FATAL):\s+(.*)", done.stderr) or done.stderr.splitlines()
    raise EmbeddedServerError(f"initdb failed: {complaints[0] if complaints else done.returncode}")


def _locales(major: int) -> list[list[str]]:
    """The order of C with the letters of Unicode: Postgres' own, or before it had one the machine's, if it has one."""
    if major >= BUILTIN_LOCALES_SINCE:
        return [["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]]
    return [["--locale=C.UTF-8"], ["--locale=C"]]


def _is_private(folder: Path, account: Account) -> bool:
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    return found.st_mode == stat.S_IFDIR | 0o700 and found.st_uid == account.uid


def _default_folder(major: int) -> Path:
    base = os.environ.get("XDG_DATA_HOME")
    parent = Path(base) if base and Path(base).is_absolute() else Path.home() / ".local" / "share"
    return parent / "pgsched" / f"postgres-{major}"
