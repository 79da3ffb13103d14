"""Loads sql/*.sql and puts the quoted names in. Never executes anything.

Fragments (`state`, `instant`, `dead_by_…`) are put into the statements that share them, so that no
piece of SQL exists twice.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

IDENTIFIER_LIMIT_BYTES = 63
"""Postgres cuts longer identifiers silently: two different names could become one."""

FRAGMENTS = (
    "state",
    "held_by_key",
    "held_in_place",
    "is_fenced",
    "next_version",
    "next_failures",
    "next_crashes",
    "attempts",
    "worker_of_poller",
    "dead_by_fence",
    "dead_by_heartbeat",
    "dead_by_poller",
    "name_waiting",
    "of_any_task",
    "of_task",
    "is_alive",
)
"""Pieces of SQL that statements share; a later one may hold an earlier one."""

RIGHT = re.compile(r"\b(select|insert|update|delete)\b(?=\s)")

BUILT_INDEXES = ("order", "queue", "held", "retrying")
"""What online migrations build, by the ends of their names."""

VARIANTS = {
    "recover": (
        "dead",
        {
            "recover_dead": "dead_by_heartbeat",
            "recover_of": "dead_by_poller",
            "recover_crashed": "dead_by_fence",
        },
    ),
    "list_front": (
        "of_task",
        {"list_front": "of_any_task", "list_front_of_task": "of_task"},
    ),
    "complete_delete": (
        "is_held",
        {"complete_delete": "held_by_key", "complete_delete_in_place": "held_in_place"},
    ),
    "complete_reschedule": (
        "is_held",
        {"complete_reschedule": "held_by_key", "complete_reschedule_in_place": "held_in_place"},
    ),
}
"""Files that stand for several statements: the placeholder, and which fragment makes which statement."""


@dataclass(frozen=True, slots=True)
class Names:
    """The table and what follows its name: its indexes, its side tables, its channel."""

    table: str = "scheduled_tasks"
    schema: str | None = None

    @property
    def failed_table(self) -> str:
        return f"{self.table}_failed"

    @property
    def workers_table(self) -> str:
        return f"{self.table}_workers"

    @property
    def leases_table(self) -> str:
        return f"{self.table}_leases"

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
            "workers_table": self._qualified(self.workers_table),
            "leases_table": self._qualified(self.leases_table),
            "migrations_table": self._qualified(self.migrations_table),
            "heartbeat_index": sql.Identifier(f"idx_{self.table}_last_heartbeat"),
            "picker_index": sql.Identifier(f"idx_{self.table}_picker"),
            # An index is made where its table is, but looked for where the search path says.
            "old_heartbeat_index": self._qualified(f"idx_{self.table}_last_heartbeat"),
            "old_picker_index": self._qualified(f"idx_{self.table}_picker"),
            "order_index": sql.Identifier(f"idx_{self.table}_order"),
            "queue_index": sql.Identifier(f"idx_{self.table}_queue"),
            "retrying_index": sql.Identifier(f"idx_{self.table}_retrying"),
            "held_index": sql.Identifier(f"idx_{self.table}_held"),
            "failed_index": sql.Identifier(f"idx_{self.table}_failed"),
        }

    def index_names(self) -> list[str]:
        """Every index that there must be, beside the keys."""
        return [f"idx_{self.table}_{suffix}" for suffix in (*BUILT_INDEXES, "failed")]

    def built_indexes(self) -> list[str]:
        """Those that online migrations build, as `to_regclass` reads them."""
        return [
            self._qualified(f"idx_{self.table}_{suffix}").as_string(None)
            for suffix in BUILT_INDEXES
        ]

    def quoted(self, key: str) -> str:
        """What stands for a placeholder, as text: `table`, `failed_table` and so on."""
        return self.identifiers()[key].as_string(None)

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
    fragments: dict[str, sql.Composable] = {}
    for name in FRAGMENTS:
        fragments[name] = composed(texts.pop(name), {**identifiers, **fragments})
    instant = texts.pop("instant")
    for column in (
        "execution_time",
        "last_success",
        "last_failure",
        "last_heartbeat",
        "first",
        "next",
    ):
        fragments[column] = composed(instant, {"column": sql.Identifier(column)})
    known = {**identifiers, **fragments}
    composables: dict[str, sql.Composable] = {}
    for name, text in texts.items():
        for variant, filled in _variants(name, fragments):
            composables[variant] = composed(text, {**known, **filled})
    return {name: composable.as_bytes() for name, composable in composables.items()}


def _variants(
    name: str, fragments: Mapping[str, sql.Composable]
) -> Iterator[tuple[str, Mapping[str, sql.Composable]]]:
    """The statements that a file stands for: most stand for themselves, some for one a fragment."""
    if name not in VARIANTS:
        yield name, {}
        return
    placeholder, by_variant = VARIANTS[name]
    for variant, fragment in by_variant.items():
        yield variant, {placeholder: fragments[fragment]}


def composed(text: str, known: Mapping[str, sql.Composable]) -> sql.Composed:
    """A text of ours with its placeholders filled. Texts come from files of this package alone, never from input."""
    return sql.SQL(text).format(**known)


def rights_for(statement: bytes) -> str:
    """What a statement does with tables, as the rights that it takes."""
    found = RIGHT.findall(statement.decode("utf-8", "replace"))
    return f"this takes {' and '.join(dict.fromkeys(found)).upper()}"


def without_comments(text: str) -> str:
    """The SQL without its comment lines: the server need not read them with each statement."""
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
