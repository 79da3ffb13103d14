"""Time zones by their IANA names. Never falls back to another zone: a name that isn't one is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgsched.errors import did_you_mean

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

OF_THE_MACHINE = ("localtime", "posixrules", "posix/", "right/")
"""Found beside the zones on some machines: not the same on all of them, or counting leap seconds."""

LONGEST_KEY = 100
"""Three times the longest IANA name; beyond it a file system may complain in its own words."""


def zone(key: str) -> ZoneInfo:
    """The zone of that name, such as `Europe/Rome`; looked up once a process.

    Raises: ValueError, one line, with the nearest name there is; TypeError where `key` isn't text.
    """
    from zoneinfo import ZoneInfo  # 3 ms, and not every program has schedules

    if not isinstance(key, str):
        raise TypeError(
            f"timezone must be the name of a zone such as 'Europe/Rome', not {key!r:.60}"
        )
    is_sound = len(key) <= LONGEST_KEY and not key.startswith(OF_THE_MACHINE)
    try:
        return ZoneInfo(key if is_sound else "")
    # A key is looked for as a file: not found is a KeyError, a folder an OSError, a NUL or `..` a ValueError.
    except (KeyError, OSError, ValueError):
        raise ValueError(
            f"there is no time zone {key!r:.60}{_hint(key)}; allowed: IANA names such as 'Europe/Rome', or 'UTC'"
        ) from None


def _hint(key: str) -> str:
    from zoneinfo import available_timezones

    if not 0 < len(key) <= LONGEST_KEY:
        return ""
    names = sorted(available_timezones(), key=lambda name: (len(name), name))
    wanted = key.lower().replace(" ", "_")
    for name in names:
        if wanted in {name.lower(), name.lower().rpartition("/")[2]}:
            return f" — did you mean {name!r}?"
    return did_you_mean(key, names)
