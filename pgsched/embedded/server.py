"""The life of an embedded server, as its users see it: share it while it runs, start it if nobody has.

Users hold a shared lock for as long as they need the server; a keeper process (keeper.py) waits for the exclusive one,
which the kernel gives it the moment the last user is gone, even by kill -9. Nobody counts users, so nobody miscounts.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pgsched.embedded.binaries import find_binaries
from pgsched.embedded.home import DEFAULT, PREFIX, Home
from pgsched.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

NOT_FOR_PRODUCTION = "an embedded Postgres is for development: one machine, one user, no backups"

PATIENCE_S = 60.0
PAUSE_S = 0.01


def is_embedded(dsn: str) -> bool:
    """Whether a DSN asks for an embedded server: `embedded` or `embedded:FOLDER`."""
    return dsn == DEFAULT or dsn.startswith(PREFIX)


@contextmanager
def embedded_server(
    dsn: str = DEFAULT, *, settings: Mapping[str, str] | None = None
) -> Generator[str]:
    """The conninfo of a running private server, over a Unix socket; started if nobody has yet.

    `settings` are server settings for the one that starts it. Raises: EmbeddedServerError.
    """
    binaries = find_binaries()
    home = Home.of(dsn, binaries)
    home.prepare()
    with _locked(home.users_lock, fcntl.LOCK_SH):
        with _locked(home.start_lock, fcntl.LOCK_EX):
            if not home.is_kept():
                _start_keeper(home, settings or {})
        yield home.conninfo()


@contextmanager
def _locked(path: Path, kind: int) -> Generator[None]:
    """Hold a lock on a file; forked children hold it too. Raises: EmbeddedServerError after a minute."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not _try_lock(file, kind):
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"{path} has been locked by another process for a minute")
            time.sleep(PAUSE_S)
        yield
    finally:
        os.close(file)


def _try_lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start_keeper(home: Home, settings: Mapping[str, str]) -> None:
    """Start the keeper, detached, and wait until its server answers."""
    home.socket_note.unlink(missing_ok=True)
    with home.keeper_log.open("wb") as log:
        keeper = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "pgsched.embedded.keeper",
                str(home.folder),
                json.dumps(dict(settings)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    deadline = time.monotonic() + PATIENCE_S
    while not home.is_answering():
        if keeper.poll() is not None:
            raise EmbeddedServerError(f"it did not start: {home.last_words()}")
        if time.monotonic() > deadline:
            keeper.terminate()
            raise EmbeddedServerError(
                f"it did not answer within {PATIENCE_S:.0f} s; see {home.server_log}"
            )
        time.sleep(PAUSE_S)
    keeper.returncode = 0  # it outlives us on purpose: nothing to wait for, nothing to warn about
