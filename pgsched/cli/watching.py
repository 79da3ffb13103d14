"""A screen that is drawn anew until Ctrl-C, on a terminal that is left as it was found.

An outage doesn't end it: whoever watches wants to see the database come back.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.segment import Segment
from rich.table import Table

from pgsched.cli.output import UNBOUNDED_WIDTH
from pgsched.cli.screen import line_of, screen_of
from pgsched.domain.instant import iso
from pgsched.domain.overview import Severity
from pgsched.errors import DatabaseUnavailable
from pgsched.store.connecting import connection
from pgsched.store.overview import overview

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from rich.console import ConsoleOptions

    from pgsched.domain.overview import Overview
    from pgsched.store.statement import Names

PAUSES_PER_LOOK = 10
"""Whoever watches a queue of millions must not add to its load: a tenth of the time at most goes into looking."""


def watch(conninfo: str, names: Names, every: timedelta) -> None:
    """Show the overview again and again. Raises: BadParameter without a terminal; DatabaseUnavailable at the start."""
    console = Console()
    if not console.is_terminal or console.is_dumb_terminal:
        raise typer.BadParameter(
            "it needs a terminal; without one, call `pgsched status` again and again",
            param_hint="--watch",
        )
    looks = _looks(conninfo, names)
    last, took_s = _timed(looks)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        problem: DatabaseUnavailable | None = None
        while True:
            live.update(_drawn(last, problem), refresh=True)
            _pause(max(every.total_seconds(), PAUSES_PER_LOOK * took_s))
            try:
                (last, took_s), problem = _timed(looks), None
            except DatabaseUnavailable as error:
                looks, problem = _looks(conninfo, names), error


def _looks(conninfo: str, names: Names) -> Iterator[Overview]:
    with connection(conninfo) as opened:
        while True:
            yield overview(opened, names)


def _timed(looks: Iterator[Overview]) -> tuple[Overview, float]:
    started_at = monotonic()
    return next(looks), monotonic() - started_at


def _drawn(last: Overview, problem: DatabaseUnavailable | None) -> Group:
    parts = [Cut(part) if isinstance(part, Table) else part for part in screen_of(last)]
    if problem is not None:
        told = f"{problem}; what follows was so at {iso(last.at)}"
        parts.insert(0, line_of(Severity.ERROR, told))
    return Group(*parts)


class Cut:
    """A table whose right end is cut off where the terminal is too narrow. Fitted to it every column loses as many
    letters, and of a task's name two are left.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for line in console.render_lines(self._table, options.update_width(UNBOUNDED_WIDTH)):
            yield from Segment.adjust_line_length(line, options.max_width)
            yield Segment.line()


def _pause(wait_s: float) -> None:
    """So long, or until a signal."""
    threading.Event().wait(wait_s)
