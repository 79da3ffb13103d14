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

from pgsched.cli.output import iso
from pgsched.cli.screen import line_of, screen_of
from pgsched.domain.overview import Severity
from pgsched.errors import DatabaseUnavailable
from pgsched.store.connecting import connection
from pgsched.store.overview import overview

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

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
    parts = list(screen_of(last))
    if problem is not None:
        told = f"{problem}; what follows was so at {iso(last.at)}"
        parts.insert(0, line_of(Severity.ERROR, told))
    return Group(*parts)


def _pause(wait_s: float) -> None:
    """So long, or until a signal."""
    threading.Event().wait(wait_s)
