"""From a line to an execution, checked as the command line checks its own arguments. Pure: reads and writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, NamedTuple

from pgsched.cli.arguments import instant_of, strict_json
from pgsched.cli.load.lines import LONGEST_LINE_BYTES
from pgsched.domain.duration import parse_duration
from pgsched.domain.request import checked_name, new_execution
from pgsched.errors import InvalidData, did_you_mean

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from pgsched.domain.execution import NewExecution

NEEDED = ("task", "instance")
ALLOWED = (*NEEDED, "data", "at", "in", "priority")
_KNOWN = frozenset(ALLOWED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What rows that say nothing themselves take from the command line."""

    at: datetime | None = None
    delay: timedelta | None = None
    priority: int | None = None


class Row(NamedTuple):
    """The execution of a line; with a `delay` it has no time yet: that is the database's to say."""

    line: int
    execution: NewExecution
    delay: timedelta | None


def row_of(line: int, content: bytes, defaults: Defaults) -> Row:
    """The row that a line holds. Raises: ValueError, InvalidData among them."""
    said = _object(content)
    at, delay = _when(said, defaults)
    priority = said.get("priority")
    execution = new_execution(
        checked_name("the task name", said["task"]),
        said["instance"],
        said.get("data"),
        at=at,
        priority=defaults.priority if priority is None else priority,
    )
    return Row(line, execution, delay)


def _object(content: bytes) -> dict[str, Any]:
    said = _json(content)
    if not isinstance(said, dict):
        raise InvalidData(f"not a JSON object; allowed: one with {', '.join(ALLOWED)}")
    if not _KNOWN.issuperset(said):
        key = next(key for key in said if key not in _KNOWN)
        hint = did_you_mean(key, ALLOWED)
        raise InvalidData(f"unknown key {key!r:.60}{hint} (allowed: {', '.join(ALLOWED)})")
    for key in NEEDED:
        if key not in said:
            raise InvalidData(f"{key} is missing (needed: {' and '.join(NEEDED)})")
    return said


def _json(content: bytes) -> Any:
    if len(content) > LONGEST_LINE_BYTES:
        raise InvalidData(f"the line is too long; allowed: up to {LONGEST_LINE_BYTES} bytes")
    try:
        return strict_json(content.rstrip().decode())
    except UnicodeDecodeError as error:
        raise InvalidData(f"not UTF-8: byte {error.start + 1} of the line") from None
    except JSONDecodeError as error:
        raise InvalidData(
            f"not JSON: {error.msg} (character {error.pos + 1} of the line)"
        ) from None
    except ValueError as error:
        raise InvalidData(f"not JSON: {error}") from None


def _when(said: dict[str, Any], defaults: Defaults) -> tuple[datetime | None, timedelta | None]:
    """The time or the delay of a row, its own or else the command line's."""
    at, delay = said.get("at"), said.get("in")
    if at is None and delay is None:
        return defaults.at, defaults.delay
    if at is not None and delay is not None:
        raise InvalidData("in: it can't go with at: give one of them")
    try:
        if delay is not None:
            return None, parse_duration(delay)
        return instant_of(said["at"]), None
    except ValueError as error:
        raise InvalidData(f"{'at' if delay is None else 'in'}: {error}") from None
