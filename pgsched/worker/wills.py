"""What is to be written for runs that only the end of their poller stops: by the housekeeper, when it has ended.

Written any sooner, the execution could be run again elsewhere while this run still goes on.
"""

from __future__ import annotations

import os
import pathlib
import pickle
import struct
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsched.domain.completion import Completion

LENGTH = struct.Struct("Q")


class Wills:
    """A file without a name, made before the first fork: pollers append to it, the housekeeper reads on."""

    def __init__(self) -> None:
        self._file, path = tempfile.mkstemp(prefix="pgsched-")
        self._appending = os.open(path, os.O_WRONLY | os.O_APPEND)
        pathlib.Path(path).unlink()
        self._read_up_to = 0
        self._known: dict[str, list[Completion]] = {}

    def leave(self, poller: str, completions: Sequence[Completion]) -> None:
        """The last thing a poller does."""
        will = pickle.dumps((poller, list(completions)))
        os.write(self._appending, LENGTH.pack(len(will)) + will)

    def of(self, poller: str) -> list[Completion]:
        """What a poller that has ended left to be written."""
        while len(head := os.pread(self._file, LENGTH.size, self._read_up_to)) == LENGTH.size:
            [length] = LENGTH.unpack(head)
            will = os.pread(self._file, length, self._read_up_to + LENGTH.size)
            who, completions = pickle.loads(will)  # noqa: S301 a poller's of this worker
            self._known[who] = completions
            self._read_up_to += LENGTH.size + length
        return self._known.get(poller, [])

    def forget(self, poller: str) -> None:
        """It has been carried out."""
        self._known[poller] = []
