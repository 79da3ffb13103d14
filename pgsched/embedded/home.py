"""The folder of an embedded server: what lies where in it, and which account the server runs as."""

from __future__ import annotations

import fcntl
import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgsched.errors import EmbeddedServerError

if TYPE_CHECKING:
    from pgsched.embedded.binaries import Binaries

DEFAULT = "embedded"
PREFIX = "embedded:"
MARKER = "pgsched-embedded"
ACCOUNTS = ("nobody", "postgres", "daemon")
"""Postgres refuses to run as root, who then lends it the first of these accounts that exists. None is created."""


@dataclass(frozen=True, slots=True)
class Home:
    """A private folder: the data, the locks, the logs."""

    folder: Path
    binaries: Binaries

    @classmethod
    def of(cls, dsn: str, binaries: Binaries) -> Home:
        """The folder that a DSN names; by default one below the user's own. Raises: EmbeddedServerError."""
        named = dsn.removeprefix(PREFIX) if dsn.startswith(PREFIX) else ""
        try:
            folder = Path(named).expanduser() if named else _default_folder(binaries.major)
        except RuntimeError as error:
            raise EmbeddedServerError(
                f"the home folder is not known ({error}): use embedded:FOLDER"
            ) from None
        return cls(folder.absolute(), binaries)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def users_lock(self) -> Path:
        return self.folder / "users.lock"

    @property
    def start_lock(self) -> Path:
        return self.folder / "start.lock"

    @property
    def keeper_lock(self) -> Path:
        return self.folder / "keeper.lock"

    @property
    def keeper_log(self) -> Path:
        return self.folder / "keeper.log"

    @property
    def server_log(self) -> Path:
        return self.folder / "server.log"

    @property
    def socket_note(self) -> Path:
        """Says in which folder the server's socket is: a short path of its own, as sockets allow some 100 bytes."""
        return self.folder / "socket"

    def prepare(self) -> None:
        """Make the folder, or refuse one that is somebody else's. Raises: EmbeddedServerError."""
        try:
            # Root's server must be able to walk through; it can't look around.
            mode = 0o700 if account() is None else 0o711
            self.folder.mkdir(mode=mode, parents=True, exist_ok=True)
            names = {path.name for path in self.folder.iterdir()}
            if names and MARKER not in names:
                raise EmbeddedServerError(
                    f"{self.folder} is not empty, and not a folder of pgsched's: choose another"
                )
            (self.folder / MARKER).touch(mode=0o600)
        except OSError as error:
            raise EmbeddedServerError(f"{self.folder} can't be used: {error.strerror}") from None
        self._check_version()

    def is_kept(self) -> bool:
        """Whether a keeper is alive whose server answers."""
        file = os.open(self.keeper_lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return self.is_answering()
        else:
            return False
        finally:
            os.close(file)

    def conninfo(self) -> str:
        """How to connect."""
        from psycopg.conninfo import make_conninfo

        return make_conninfo(
            host=self.socket_note.read_text(encoding="utf-8"), user="postgres", dbname="postgres"
        )

    def is_answering(self) -> bool:
        """Whether the server takes connections."""
        import psycopg

        try:
            psycopg.connect(self.conninfo(), connect_timeout=2).close()
        except (OSError, psycopg.OperationalError):
            return False
        return True

    def last_words(self) -> str:
        """The last line of what server or keeper logged."""
        for log in (self.server_log, self.keeper_log):
            lines = (
                log.read_text(encoding="utf-8", errors="replace").split("\n")
                if log.exists()
                else []
            )
            told = [line.strip() for line in lines if line.strip()]
            if told:
                return f"{told[-1]} (see {log})"
        return "it said nothing"

    def _check_version(self) -> None:
        note = self.data / "PG_VERSION"
        found = note.read_text(encoding="ascii").strip() if note.exists() else None
        if found and found != str(self.binaries.major):
            raise EmbeddedServerError(
                f"{self.folder} was made by Postgres {found}, this is {self.binaries.major}: "
                "choose another folder, or dump and load"
            )


def account() -> pwd.struct_passwd | None:
    """The account that root lends to the server; None for anybody else, whose server is their own."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise EmbeddedServerError(
        f"Postgres does not run as root, and there is none of the accounts {', '.join(ACCOUNTS)}"
    )


def _default_folder(major: int) -> Path:
    base = os.environ.get("XDG_DATA_HOME")
    parent = Path(base) if base and Path(base).is_absolute() else Path.home() / ".local" / "share"
    return parent / "pgsched" / f"postgres-{major}"
