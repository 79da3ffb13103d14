"""What people and programs read: tables or JSON on stdout, remarks on stderr.

Nothing that came from the database or a user reaches a terminal raw: what can't be printed is escaped.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any

import typer

from pgsched.domain.duration import rough_duration
from pgsched.domain.instant import iso
from pgsched.domain.text import cut, printable, printable_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import ConsoleRenderable
    from rich.table import Table

UNBOUNDED_WIDTH = 1_000_000
"""A table is as wide as what it holds."""

EMPTY = "-"


class ReaderLeft(Exception):
    """Nobody reads stdout any more."""


def say(text: str) -> None:
    """A result, one line on stdout."""
    write(f"{printable(text)}\n")


def note(text: str) -> None:
    """A remark, one line on stderr."""
    write_error(f"pgsched: {printable(' '.join(text.splitlines()))}\n")


def say_json(document: object) -> None:
    """One JSON document on stdout, in UTF-8 or, where stdout has another encoding, in ASCII."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    text = json.dumps(document, ensure_ascii=encoding not in {"utf-8", "utf8"}, indent=2)
    write(f"{printable_json(text)}\n")


def say_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: each row on one line, nothing cut, whoever reads it.

    Fitted to a narrow terminal ten columns become towers of syllables; lines that a terminal wraps can be read.
    """
    say_drawn(table_of(columns, rows))


def say_drawn(*parts: ConsoleRenderable) -> None:
    """What rich draws, on stdout, in lines as long as they need be."""
    from rich.console import Console

    drawn = StringIO()
    is_terminal = True if sys.stdout.isatty() else None
    console = Console(file=drawn, force_terminal=is_terminal, width=UNBOUNDED_WIDTH)
    for part in parts:
        console.print(part)
    write("".join(f"{line.rstrip()}\n" for line in drawn.getvalue().splitlines()))


def table_of(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table for people, not drawn yet."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(printable(cell) or EMPTY) for cell in row))
    return table


def write(text: str) -> None:
    """To stdout, at once, so that a reader who has left is noticed here: quietly, as other programs do."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise ReaderLeft from None
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        note(f"can't write to stdout: {error.strerror}")
        raise typer.Exit(1) from None


def write_error(text: str) -> None:
    """To stderr; where that is closed there is nobody to tell."""
    with suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


def one_line(text: str, *, limit: int) -> str:
    """The text on one line, cut with an ellipsis."""
    return cut(" ".join(text.split()), limit)


def now() -> datetime:
    """This machine's time, for looking ahead on a calendar; what is due is the database's to say."""
    return datetime.now(UTC)


def as_json(value: Any) -> Any:
    """A field as JSON has it."""
    return iso(value) if isinstance(value, datetime) else value


def relative(instant: datetime, now: datetime) -> str:
    """`in 5m`, `3s ago`, with the largest unit and the next one."""
    away = instant - now
    if abs(away) < timedelta(seconds=1):
        return "now"
    length = rough_duration(away)
    return f"in {length}" if away > timedelta(0) else f"{length} ago"
