"""A file's lines, one at a time and with their numbers. Never reads a line that has no end into memory."""

from __future__ import annotations

import codecs
import os
import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import typer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

LONGEST_LINE_BYTES = 64 << 20
"""As much as a --data-file may hold."""

STDIN = Path("-")

Line: TypeAlias = tuple[int, bytes]
"""Its number, from 1, and what it holds; of one that is too long, just more than is allowed."""


@contextmanager
def opened(file: Path) -> Generator[BinaryIO]:
    """The file, or stdin for `-`. Raises: BadParameter."""
    if file == STDIN:
        yield sys.stdin.buffer
        return
    try:
        stream = file.open("rb")
    except OSError as error:
        raise _unreadable(error) from None
    with stream:
        yield stream


def size_bytes(stream: BinaryIO) -> int | None:
    """How long the file is; None of a pipe, which nobody knows."""
    status = os.fstat(stream.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def numbered_lines(stream: BinaryIO, *, first: int) -> Iterator[Line]:
    """The lines from number `first` on. A byte order mark is no part of the first. Raises: BadParameter."""
    number = 0
    while content := _read_line(stream):
        number += 1
        if number >= first:
            yield number, content if number > 1 else content.removeprefix(codecs.BOM_UTF8)


def _read_line(stream: BinaryIO) -> bytes:
    try:
        content = part = stream.readline(LONGEST_LINE_BYTES + 1)
        while len(part) >= LONGEST_LINE_BYTES and not part.endswith(b"\n"):
            part = stream.readline(LONGEST_LINE_BYTES)
    except OSError as error:
        raise _unreadable(error) from None
    return content


def _unreadable(error: OSError) -> typer.BadParameter:
    return typer.BadParameter(f"it can't be read: {error.strerror}", param_hint="--from-file")
