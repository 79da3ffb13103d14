"""The load itself: chunks of rows into the database, each a transaction, and what came of them.

Never tells where the file is loaded up to before that is committed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pgsched.cli.load.interruption import Interruption
from pgsched.cli.load.lines import STDIN, numbered_lines
from pgsched.cli.load.progress import progress
from pgsched.cli.load.rows import row_of
from pgsched.cli.output import note, write_error
from pgsched.domain.text import printable
from pgsched.errors import InvalidData
from pgsched.store.connecting import translated
from pgsched.store.operation import drive
from pgsched.store.picking import database_now
from pgsched.store.scheduling import CHUNK, schedule
from pgsched.tracing import scheduling

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    import psycopg

    from pgsched.cli.load.lines import Line
    from pgsched.cli.load.rows import Defaults, Row
    from pgsched.domain.execution import NewExecution
    from pgsched.store.statement import Names

CHUNK_BYTES = 8 << 20
"""A chunk of large rows ends here, so that memory does not depend on the data."""

BAD_ROWS_TOLD = 100
"""Whoever gave the wrong file need not read it on stderr."""


@dataclass(slots=True)
class Tally:
    """What has become of the lines so far: rows that are new, that were there already, that are bad."""

    new: int = 0
    already_there: int = 0
    bad: int = 0
    last_line: int = 0
    """Up to this line all is committed, and what is bad is told."""

    @property
    def rows(self) -> int:
        return self.new + self.already_there + self.bad


@dataclass(slots=True)
class _Chunk:
    """Rows by what they are: of two for one instance the first counts, as if they were scheduled in turn."""

    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    repeated: int = 0
    size_bytes: int = 0
    last_line: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.rows) >= CHUNK or self.size_bytes >= CHUNK_BYTES

    def add(self, row: Row) -> None:
        key = row.execution.task, row.execution.instance
        if self.rows.setdefault(key, row) is not row:
            self.repeated += 1


class Loading:
    """One file on its way into one table, over a connection in autocommit mode."""

    def __init__(
        self, connection: psycopg.Connection[Any], names: Names, file: Path, defaults: Defaults
    ) -> None:
        self._connection = connection
        self._names = names
        self._name = "stdin" if file == STDIN else str(file)
        self._defaults = defaults
        self.tally = Tally()

    def run(self, stream: BinaryIO, *, first: int) -> None:
        """Load the lines from `first` on. What it has done is in `tally`, however it ends.

        Raises: DatabaseUnavailable, KeyboardInterrupt, SystemExit.
        """
        self.tally.last_line = first - 1
        lines = numbered_lines(stream, first=first)
        with Interruption() as interruption, progress(stream) as show:
            for chunk in self._chunks(lines):
                with interruption.held_back():
                    self._write(list(chunk.rows.values()))
                    self.tally.already_there += chunk.repeated
                    self.tally.last_line = chunk.last_line
                show(self.tally.rows)

    def _chunks(self, lines: Iterable[Line]) -> Iterator[_Chunk]:
        chunk = _Chunk()
        for number, content in lines:
            self._read(number, content, chunk)
            if chunk.is_full:
                yield chunk
                chunk = _Chunk()
        if chunk.last_line:
            yield chunk

    def _read(self, number: int, content: bytes, chunk: _Chunk) -> None:
        chunk.last_line = number
        chunk.size_bytes += len(content)
        if not content.strip():
            return
        try:
            chunk.add(row_of(number, content, self._defaults))
        except InvalidData as problem:
            self._refuse(number, problem)

    def _write(self, rows: Sequence[Row]) -> None:
        """Write rows all at once; where the database refuses one, find it by halves and write the others."""
        if not rows:
            return
        try:
            new = self._schedule(rows)
        except InvalidData as problem:
            if len(rows) == 1:
                self._refuse(rows[0].line, problem)
                return
            half = len(rows) // 2
            self._write(rows[:half])
            self._write(rows[half:])
        else:
            self.tally.new += new
            self.tally.already_there += len(rows) - new

    def _schedule(self, rows: Sequence[Row]) -> int:
        with translated(), scheduling(self._timed(rows), is_batch=True) as traced:
            # One statement, as a chunk has at most CHUNK rows: all of them or none.
            operation = schedule(self._names, traced)
            return drive(self._connection, self._names, operation, is_atomic=False)

    def _timed(self, rows: Sequence[Row]) -> list[NewExecution]:
        """The executions; those with a delay are due so long after the database's time, which is asked once."""
        if all(row.delay is None for row in rows):
            return [row.execution for row in rows]
        now = drive(self._connection, self._names, database_now(), is_atomic=False)
        return [
            row.execution if row.delay is None else row.execution._replace(at=now + row.delay)
            for row in rows
        ]

    def _refuse(self, line: int, problem: InvalidData) -> None:
        self.tally.bad += 1
        if self.tally.bad <= BAD_ROWS_TOLD:
            write_error(f"{printable(f'{self._name}:{line}: {problem}')}\n")
        elif self.tally.bad == BAD_ROWS_TOLD + 1:
            note(f"more than {BAD_ROWS_TOLD} rows are bad: the others are only counted")
