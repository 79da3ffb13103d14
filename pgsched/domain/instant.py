"""An instant as programs read it: in logs, in JSON, on the command line."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(instant: datetime) -> str:
    """ISO 8601 in UTC with `Z`, as the `timestamp` of each line of the log."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
