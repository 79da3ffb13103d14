"""A TCP proxy on the loopback between workers and Postgres, which can cut, refuse, swallow and delay."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from enum import Enum
from typing import NamedTuple

CHUNK = 65_536

READY_FOR_QUERY = b"Z\0\0\0\5"
"""What a server ends the login with."""


class Mode(Enum):
    """What becomes of what is sent."""

    FORWARD = "forward"
    REFUSE = "refuse"
    SWALLOW = "swallow"
    """Connections are taken, and bytes are, and nothing ever comes back: a half-open connection."""
    DELAY = "delay"
    MUTE = "mute"
    """Logins are answered, and nothing after them: a pooler whose server is away."""


class Pair(NamedTuple):
    client: socket.socket
    server: socket.socket


class Proxy:
    """Forwards to a Unix socket or a (host, port). `forget` makes what is connected now stay dead after a swallow."""

    def __init__(self, target: str | tuple[str, int]) -> None:
        self._target = target
        self._mode = Mode.FORWARD
        self.delay_s = 0.0
        self._pairs: set[Pair] = set()
        self._dead: set[Pair] = set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._is_closed = False
        self._pause = threading.Event()
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, mode: Mode, *, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self._mode = mode

    def cut(self) -> None:
        """Reset every connection."""
        for pair in list(self._pairs):
            _close(pair)

    def forget(self) -> None:
        """What is connected now is never served again, and never told so."""
        self._dead |= set(self._pairs)

    def close(self) -> None:
        self._is_closed = True
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self._mode is Mode.REFUSE:
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = self._connected()
        except OSError:
            client.close()
            return
        pair = Pair(client, server)
        self._pairs.add(pair)
        try:
            while self._forward(pair):
                pass
        except (OSError, ValueError):
            pass
        finally:
            self._pairs.discard(pair)
            self._dead.discard(pair)
            _close(pair)

    def _connected(self) -> socket.socket:
        if isinstance(self._target, tuple):
            return socket.create_connection(self._target, timeout=5)
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self._target)
        except OSError:
            server.close()
            raise
        return server

    def _forward(self, pair: Pair) -> bool:
        readable, _, _ = select.select(pair, [], [], 0.5)
        for source in readable:
            data = source.recv(CHUNK)
            if not data:
                return False
            if self._mode is Mode.DELAY:
                self._pause.wait(self.delay_s)
            if self._mode is Mode.SWALLOW or pair in self._dead:
                continue
            (pair.server if source is pair.client else pair.client).sendall(data)
            if self._mode is Mode.MUTE and READY_FOR_QUERY in data:
                self._dead.add(pair)
        return True


def _close(pair: Pair) -> None:
    for end in pair:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
