"""A time limit on every call to the database, kept by the client: a server that answers nothing can't keep its own.

A half-open connection behind a proxy or a firewall looks alive to the kernel for as long as it likes. Its socket is
shut down then, which its caller sees as a lost connection.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pgsched.errors import DatabaseUnavailable
from pgsched.store.connecting import translated
from pgsched.worker.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Generator

    import psycopg

LIMIT_S = 15.0
"""Longer than the server's own limit on a statement (`store/session.py`), which is to tell first where it can."""

ROUND_S = 1.0


class Guard:
    """For the calls of one connection at a time."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._turn = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None
        self._until = 0.0
        self._called = threading.Event()
        self._is_started = False

    @contextmanager
    def watching(self, connection: psycopg.Connection[Any]) -> Generator[None]:
        """Shut the connection down if what is done here takes too long."""
        if not self._is_started:
            self._is_started = True
            threading.Thread(target=self._watch, name="pgsched-guard", daemon=True).start()
        with self._turn:
            self._until = monotonic() + self._limit_s
            self._connection = connection
        self._called.set()
        try:
            yield
        finally:
            with self._turn:
                self._connection = None

    def _watch(self) -> None:
        while True:
            self._called.wait()
            self._called.clear()
            while self._is_waiting():
                threading.Event().wait(ROUND_S)

    def _is_waiting(self) -> bool:
        """Whether a call is still going on; ends it when its time is over."""
        with self._turn:
            if self._connection is None:
                return False
            if monotonic() >= self._until:
                shut(self._connection)
            return True


def shut(connection: psycopg.Connection[Any]) -> None:
    """Its socket, not the connection, which belongs to another thread."""
    with (
        suppress(
            OSError, ValueError, DatabaseUnavailable
        ),  # it has broken, or been closed, just now
        translated(),
        socket.socket(fileno=os.dup(connection.fileno())) as copy,
    ):
        copy.shutdown(socket.SHUT_RDWR)
