"""The life of an embedded server, as its users see it: share it while it runs, start it if nobody has.

Users hold a shared lock for as long as they need the server; a keeper process (keeper.py) waits for the exclusive one,
which the kernel gives it the moment the last user is gone, even by kill -9. Nobody counts users, so nobody miscounts.
A second lock is the server's own: it goes from whoever starts it to its keeper and on to Postgres, without a moment in
between, so that it is free if and only if nothing of the server is left.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pgsched
from pgsched.embedded.account import Account
from pgsched.embedded.binaries import find_binaries, runnable_by
from pgsched.embedded.home import DEFAULT, PREFIX, Home
from pgsched.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from pgsched.embedded.binaries import Binaries

NOT_FOR_PRODUCTION = "an embedded Postgres is for development: one machine, one user, no backups"

PATIENCE_S = 60.0
PAUSE_S = 0.01

KEEPER = "from pgsched.embedded.keeper import main; main()"


def is_embedded(dsn: str) -> bool:
    """Whether a DSN asks for an embedded server: `embedded` or `embedded:FOLDER`."""
    return dsn == DEFAULT or dsn.startswith(PREFIX)


@contextmanager
def embedded_server(
    dsn: str = DEFAULT, *, settings: Mapping[str, str] | None = None
) -> Generator[str]:
    """The conninfo of a running private server, over a Unix socket; started if nobody has yet.

    `settings` are server settings for the one that starts it. Forked children use the server too, until they end.
    Raises: EmbeddedServerError.
    """
    home, users = _join(dsn, settings or {})
    try:
        yield home.conninfo()
    finally:
        os.close(users)  # never unlocked: that would take the lock from forked children as well


def _join(dsn: str, settings: Mapping[str, str]) -> tuple[Home, int]:
    binaries = find_binaries()
    home = Home.of(dsn, binaries.major)
    try:
        home.prepare()
        users = os.open(home.users_lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _wait_for_server(home, users, binaries, settings)
        except BaseException:
            os.close(users)
            raise
    except OSError as error:
        raise EmbeddedServerError(
            f"{error.filename or home.folder} can't be used: {error.strerror or error}; "
            "embedded:FOLDER names another folder"
        ) from error
    return home, users


def _wait_for_server(
    home: Home, users: int, binaries: Binaries, settings: Mapping[str, str]
) -> None:
    """Become a user of a server that answers, or start one: once, whose failure is then ours to tell."""
    deadline = time.monotonic() + PATIENCE_S
    while not _locked(users, fcntl.LOCK_SH):  # a keeper is stopping its server
        _pause(home, deadline)
    started_at: int | None = None
    while True:
        server = os.open(home.server_lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if _locked(server, fcntl.LOCK_EX):
                if started_at is not None:
                    raise EmbeddedServerError(f"did not start: {home.last_words(since=started_at)}")
                started_at = _start(home, server, binaries, settings)
            elif home.is_answering():
                return
        finally:
            os.close(server)
        _pause(home, deadline)


def _locked(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pause(home: Home, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise EmbeddedServerError(f"no answer for {PATIENCE_S:.0f} s; see {home.log}")
    time.sleep(PAUSE_S)


def _start(home: Home, server: int, binaries: Binaries, settings: Mapping[str, str]) -> int:
    """Start the keeper, which takes the lock over. Answers where in the log its story begins."""
    account = Account.of_server()
    binaries = runnable_by(account, binaries)
    home.make_data(binaries, account)
    home.forget_last_server()
    sockets = home.make_sockets(account)
    order = {
        "folder": str(home.folder),
        "program": binaries.program("postgres"),
        "sockets": str(sockets),
        "lock": server,
        "settings": dict(settings),
    }
    # What we are is what it must import, wherever we run from; -P: and never what lies in its working directory.
    path = os.pathsep.join([str(Path(pgsched.__file__).parents[1]), *filter(None, sys.path)])
    with home.log.open("ab") as log:
        since = log.tell()
        done = subprocess.run(
            [sys.executable, "-P", "-c", KEEPER, json.dumps(order)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[server],
            start_new_session=True,
            cwd="/",
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )
    if done.returncode:
        raise EmbeddedServerError(f"its keeper did not start: {home.last_words(since=since)}")
    return since
