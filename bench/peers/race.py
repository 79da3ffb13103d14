"""What is measured of one peer: how fast it drains, how fast it takes jobs in, and how soon it starts them."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg

from bench.peers.environment import WillNotRun, last_line

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from bench.peers.field import Peer

PATIENCE_S = 180.0
LOOK_S = 0.005
WARM_UP = 20  # jobs, for the workers and again for the process that enqueues


class Racer:
    """A peer that is installed, on a database of its own that is made anew for each run."""

    def __init__(self, peer: Peer, command: list[str], server: str) -> None:
        self._peer = peer
        self._command = command
        self._server = server

    def drain(self, task: str, executions: int) -> tuple[float, float]:
        """Executions a second, from the first start to when nothing is left; and what came in a second, in bulk."""
        with self._fresh() as (dsn, folder):
            took = float(self._ask(folder, "enqueue", dsn, task, str(executions)))
            with psycopg.connect(dsn, autocommit=True) as watching:
                watching.execute("vacuum analyze")
                watching.execute("checkpoint")
                with self._working(dsn, folder):
                    ended = self._wait_until_drained(watching, folder, executions)
                    first, started = _starts(folder)
                if started != executions:
                    raise WillNotRun(f"{started:,} runs of {executions:,} executions")
                return executions / (ended - first), executions / took

    def lateness(self, count: int, pause_s: float) -> list[float]:
        """Milliseconds from when each call that enqueues begins until its job starts, on idle workers."""
        with self._fresh() as (dsn, folder), self._working(dsn, folder):
            self._ask(folder, "trickle", dsn, str(WARM_UP), "0.1")
            _wait_for(lambda: len(_marks(folder)) >= WARM_UP)
            (folder / "marks").unlink()
            told = self._ask(folder, "trickle", dsn, str(WARM_UP + count), str(pause_s))
            _wait_for(lambda: len(_marks(folder)) >= WARM_UP + count)
            called = [float(line.split()[1]) for line in told.splitlines()]
            started = _marks(folder)
            return [
                (started[str(number)] - at) * 1000
                for number, at in enumerate(called)
                if number >= WARM_UP
            ]

    def singles(self, count: int) -> float:
        """How many a second one caller enqueues, one by one, with no worker about."""
        with self._fresh() as (dsn, folder):
            lines = self._ask(folder, "trickle", dsn, str(count), "0").splitlines()
            return count / (float(lines[-1].split()[2]) - float(lines[0].split()[1]))

    @contextmanager
    def _fresh(self) -> Generator[tuple[str, Path]]:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute("drop database if exists peer with (force)")
            connection.execute("create database peer")
            dsn = _url(connection.info)
        with tempfile.TemporaryDirectory() as folder:
            self._ask(Path(folder), "setup", dsn)
            yield dsn, Path(folder)

    def _ask(self, folder: Path, *words: str) -> str:
        done = subprocess.run(
            [*self._command, *words],
            env=_environment(folder),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if done.returncode:
            raise WillNotRun(last_line(done.stderr))
        return done.stdout

    @contextmanager
    def _working(self, dsn: str, folder: Path) -> Generator[None]:
        with (folder / "log").open("wb") as log:
            workers = [
                subprocess.Popen(
                    [*self._command, "work", dsn],
                    env=_environment(folder),
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
                for _ in range(self._peer.workers)
            ]
        try:
            yield
        except TimeoutError as error:
            raise WillNotRun(f"{error}; {last_line((folder / 'log').read_text())}") from error
        finally:
            for worker in workers:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()

    def _wait_until_drained(
        self, watching: psycopg.Connection[tuple[object, ...]], folder: Path, executions: int
    ) -> float:
        """Until all have started, then until the last is finished; answers the time."""
        _wait_for(lambda: _starts(folder)[1] >= executions)
        ended = time.time()
        if left := self._peer.left:
            _wait_for(lambda: watching.execute(left.encode()).fetchone() is None)
            ended = time.time()
        return ended


def _url(info: psycopg.ConnectionInfo) -> str:
    """As all of them take it: a URL, also where the server is behind a Unix socket."""
    user = f"{info.user}:{quote(info.password)}" if info.password else info.user
    if info.host.startswith("/"):
        return f"postgresql://{user}@/peer?host={quote(info.host, safe='')}&port={info.port}"
    return f"postgresql://{user}@{info.host}:{info.port}/peer"


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PEERS_MARKS": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def _starts(folder: Path) -> tuple[float, int]:
    """When the first began, and how many have begun."""
    written = [file.read_bytes() for file in folder.glob("starts.*")]
    cells = [struct.unpack("<dq", cell) for cell in written if cell]
    return min((first for first, _ in cells), default=0.0), sum(count for _, count in cells)


def _marks(folder: Path) -> dict[str, float]:
    path = folder / "marks"
    lines = path.read_text().splitlines() if path.exists() else []
    return {number: float(at) for number, at in map(str.split, lines)}


def _wait_for(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError(f"not done after {PATIENCE_S:.0f} s")
        time.sleep(LOOK_S)
