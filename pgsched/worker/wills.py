"""What is to be written for runs that only the end of their poller stops: by the housekeeper, when it has ended.

Written any sooner, the execution could be run again elsewhere while this run still goes on.
"""

from __future__ import annotations

import fcntl
import os
import pathlib
import pickle
import secrets
import struct
import sys
import tempfile
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsched.domain.completion import Completion
    from pgsched.domain.outcome import SpanIds

LENGTH = struct.Struct("Q")

MARK_BYTES = 16


class Last(NamedTuple):
    """What is to be written for a run, and its span, for the log."""

    completion: Completion
    span: SpanIds | None


class Wills:
    """A file without a name, made before the first fork: pollers append to it, the housekeeper reads it.

    Each will follows a mark, by which the next one is found where somebody was killed while writing his.
    """

    def __init__(self) -> None:
        self._file = _nameless_file()
        self._mark = secrets.token_bytes(MARK_BYTES)
        self._carried_out: set[str] = set()

    def leave(self, poller: str, lasts: Sequence[Last]) -> None:
        """The last thing a poller does."""
        will = pickle.dumps((poller, list(lasts)))
        os.write(self._file, self._mark + LENGTH.pack(len(will)) + will)

    def of(self, poller: str) -> list[Last]:
        """What a poller that has ended left to be written; nothing where it left it unfinished."""
        if poller in self._carried_out:
            return []
        whole = os.pread(self._file, os.fstat(self._file).st_size, 0)
        for record in whole.split(self._mark)[1:]:
            will = record[LENGTH.size :]
            if record[: LENGTH.size] != LENGTH.pack(len(will)):
                continue
            who, lasts = pickle.loads(will)  # noqa: S301 a poller's of this worker
            if who == poller:
                return list(lasts)
        return []

    def forget(self, poller: str) -> None:
        """It has been carried out."""
        self._carried_out.add(poller)


def _nameless_file() -> int:
    """To append to. In memory where there is such a thing: no folder may be writable."""
    if sys.platform == "linux":
        file = os.memfd_create("pgsched-wills")
    else:
        file, path = tempfile.mkstemp(prefix="pgsched-")
        pathlib.Path(path).unlink()
    fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)
    return file
