"""What a check has found: how bad it is, what it means, and the words that mend it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SHOWN = 5
"""Of a longer list of names."""


class Severity(StrEnum):
    """The worst first."""

    CRITICAL = "critical"
    """Executions don't run, or what was committed may be lost."""
    WARNING = "warning"
    """It works, worse than it should, or not for long."""
    NOTE = "note"
    """Worth knowing; nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Fix:
    """What mends it, line by line: SQL for somebody who may, commands for a shell, or keys of the configuration."""

    language: str
    lines: tuple[str, ...]

    @classmethod
    def sql(cls, *statements: str) -> Fix:
        """Each is to be run by itself, not in one transaction."""
        return cls("sql", tuple(f"{statement};" for statement in statements))

    @classmethod
    def shell(cls, *commands: str) -> Fix:
        """What to type on the machine that the finding names."""
        return cls("shell", commands)

    @classmethod
    def config(cls, *lines: str) -> Fix:
        """What to write in pgsched.yaml."""
        return cls("config", lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that somebody should know."""

    severity: Severity
    title: str
    explanation: str
    fix: Fix | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def listed(names: Collection[str]) -> str:
    """`'a', 'b' and 3 more`."""
    shown = ", ".join(f"{name!r:.80}" for name in list(names)[:SHOWN])
    more = len(names) - SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def literal(text: str) -> str:
    """The text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def counted(number: int, what: str) -> str:
    """`1 worker`, `1,200 workers`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
