"""What is said about one isolated run, over a channel of its own: a socket between its poller and its runner.

The runner says that it is there, takes the errand and answers with the run. When its process is gone, and not before,
the supervisor adds how it ended and shuts the channel down, which reaches the poller whoever else holds copies of it.
A poller that shuts its half down wants the run ended. Nobody names a process by its number here: numbers are reused.
"""

from __future__ import annotations

import socket
import struct
import zlib
from typing import NamedTuple

HERE = b"\0"
"""A runner is ready for its errand."""

HEAD = struct.Struct("=QI")
"""Before what is sent whole: its length and its checksum."""

ENDING = struct.Struct("=4s?i")
MARK = b"gone"

PART_BYTES = 65_536


class Sockets(NamedTuple):
    """Both ends of what a poller asks its supervisor over for runners; they outlive its processes."""

    supervisor: socket.socket
    poller: socket.socket


def new_sockets() -> Sockets:
    ends = Sockets(*socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
    ends.supervisor.setblocking(False)
    return ends


class Ending(NamedTuple):
    """How a runner ended: whether it was made to, and its exit status, as `os.waitstatus_to_exitcode` says it."""

    is_asked: bool
    status: int

    def packed(self) -> bytes:
        return ENDING.pack(MARK, self.is_asked, self.status)


def framed(content: bytes) -> bytes:
    """With its length and checksum before it: what was cut off is not mistaken for whole."""
    return HEAD.pack(len(content), zlib.crc32(content)) + content


def take(channel: socket.socket) -> bytes:
    """The next framed content. Raises: EOFError where it was cut off, OSError."""
    heard = bytearray()
    while (content := content_of(heard)) is None:
        part = channel.recv(PART_BYTES)
        if not part:
            raise EOFError
        heard += part
    return content


def content_of(heard: bytes | bytearray) -> bytes | None:
    """The framed content that this begins with; None where it is not there whole."""
    if len(heard) < HEAD.size:
        return None
    length, checksum = HEAD.unpack_from(heard)
    if len(heard) < HEAD.size + length:
        return None
    content = bytes(memoryview(heard)[HEAD.size : HEAD.size + length])
    return content if zlib.crc32(content) == checksum else None


def ending_of(heard: bytes | bytearray) -> Ending | None:
    """What the supervisor has added at its end; None where it couldn't, because it is itself gone."""
    if len(heard) < ENDING.size:
        return None
    mark, is_asked, status = ENDING.unpack(heard[-ENDING.size :])
    return Ending(is_asked, status) if mark == MARK else None
