"""Loads sql/*.sql and puts the quoted names in. Never executes anything.

Fragments (`state`, `instant`, `dead_by_…`) are put into the statements that share them, so that no
piece of SQL exists twice.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Mapping

IDENTIFIER_LIMIT_BYTES = 63
"""Postgres cuts longer identifiers silently: two different names could become one."""


@dataclass(frozen=True, slots=True)
class Names:
    """The table and what follows its name: its indexes, its side tables, its channel."""

    table: str = "scheduled_tasks"
    schema: str | None = None

    @property
    def failed_table(self) -> str:
        return f"{self.table}_failed"

    @property
    def migrations_table(self) -> str:
        return f"{self.table}_migrations"

    @property
    def channel(self) -> str:
        """What schedulers notify and workers listen on. Without the schema: whether one is named differs between
        the programs that share a table, and a wake-up for a table of the same name elsewhere costs one pick.
        """
        channel = f"pgsched.{self.table}"
        if len(channel.encode("utf-8")) <= IDENTIFIER_LIMIT_BYTES:
            return channel
        return f"pgsched.{hashlib.sha256(channel.encode('utf-8')).hexdigest()[:16]}"

    def identifiers(self) -> dict[str, sql.Composable]:
        """The placeholders of the SQL files, quoted."""
        return {
            "table": self._qualified(self.table),
            "failed_table": self._qualified(self.failed_table),
            "migrations_table": self._qualified(self.migrations_table),
            "heartbeat_index": sql.Identifier(f"idx_{self.table}_last_heartbeat"),
            "picker_index": sql.Identifier(f"idx_{self.table}_picker"),
            "failed_index": sql.Identifier(f"idx_{self.table}_failed"),
        }

    def escaped(self) -> Names:
        """For statements with parameters, in which psycopg reads a percent sign as the start of a placeholder."""
        schema = None if self.schema is None else self.schema.replace("%", "%%")
        return Names(self.table.replace("%", "%%"), schema)

    def _qualified(self, name: str) -> sql.Identifier:
        return sql.Identifier(name) if self.schema is None else sql.Identifier(self.schema, name)


@cache
def statements(names: Names) -> Mapping[str, bytes]:
    """Every statement by name, ready to send."""
    texts = {
        path.name.removesuffix(".sql"): without_comments(path.read_text(encoding="utf-8"))
        for path in (files("pgsched.store") / "sql").iterdir()
        if path.name.endswith(".sql")
    }
    identifiers = names.escaped().identifiers()
    fragments: dict[str, sql.Composable] = {
        name: composed(texts.pop(name), identifiers)
        for name in ("state", "dead_by_heartbeat", "dead_by_poller")
    }
    instant = texts.pop("instant")
    for column in ("execution_time", "last_success", "last_failure", "last_heartbeat"):
        fragments[column] = composed(instant, {"column": sql.Identifier(column)})
    recover = texts.pop("recover")
    known = {**identifiers, **fragments}
    composables = {name: composed(text, known) for name, text in texts.items()}
    composables["recover_dead"] = composed(
        recover, {**known, "dead": fragments["dead_by_heartbeat"]}
    )
    composables["recover_of"] = composed(recover, {**known, "dead": fragments["dead_by_poller"]})
    return {name: composable.as_bytes() for name, composable in composables.items()}


def composed(text: str, known: Mapping[str, sql.Composable]) -> sql.Composed:
    """A text of ours with its placeholders filled. Texts come from files of this package alone, never from input."""
    return sql.SQL(text).format(**known)


def without_comments(text: str) -> str:
    """The SQL without its comment lines: the server need not read them with each statement."""
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
