"""How far a load is, for whoever watches: a bar on a terminal, elsewhere nothing."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from pgsched.cli.load.lines import size_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rich.progress import Progress

REFRESH_S = 0.1
"""Often enough for the eye; drawing takes a millisecond."""


@contextmanager
def progress(stream: BinaryIO) -> Generator[Callable[[int], None]]:
    """A function that is told, now and then, how many rows have been loaded."""
    if not sys.stderr.isatty():
        yield lambda _rows: None
        return
    total = size_bytes(stream)
    with _bar(is_measured=total is not None) as bar:
        task = bar.add_task("", total=total, rows=0, rate=0)
        started_at = drawn_at = time.monotonic()

        def show(rows: int) -> None:
            nonlocal drawn_at
            now = time.monotonic()
            rate = round(rows / max(now - started_at, REFRESH_S))
            bar.update(task, completed=0 if total is None else stream.tell(), rows=rows, rate=rate)
            if now - drawn_at >= REFRESH_S:
                drawn_at = now
                bar.refresh()

        yield show


def _bar(*, is_measured: bool) -> Progress:
    """Drawn when it is told to: no thread of its own, which a bar without one does not miss."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    share = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn()) if is_measured else ()
    words = "{task.fields[rows]:,} rows  {task.fields[rate]:,} rows/s"
    return Progress(*share, TextColumn(words), console=Console(stderr=True), auto_refresh=False)
