"""Durations as people write them: "2h30m" <-> timedelta. Never guesses a unit, never rounds a length away."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache

LONGEST_DURATION = timedelta(days=36_525)
"""100 years: whatever is longer is a slip of the pen, and soon overflows dates."""

ALLOWED = "a duration such as 90s, 5m, 2h30m, 1d"

UNITS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}

_LONGEST_TEXT = 100
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION = re.compile("".join(rf"(?:({_NUMBER}){unit})?" for unit in UNITS))


def parse_duration(text: str) -> timedelta:
    """The length that `text` says: numbers with a unit each (w, d, h, m, s, ms), the largest unit first.

    Numbers may be decimal (`1.5s`); a length is exact to the microsecond and at most 100 years.
    Raises: ValueError, one line, for anything else (also for what isn't text).
    """
    if not isinstance(text, str) or len(text) > _LONGEST_TEXT:
        raise _no_duration(text)
    return _parsed(text)


@lru_cache(maxsize=1024)
def _parsed(text: str) -> timedelta:
    """A file of millions says the same few again and again."""
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise _no_duration(text)
    given = zip(match.groups(), UNITS.values(), strict=True)
    try:
        length = sum((float(number) * unit for number, unit in given if number), timedelta(0))
    except OverflowError:
        length = timedelta.max
    if length > LONGEST_DURATION:
        raise ValueError(f"{text!r:.60} is longer than 100 years; allowed: {ALLOWED}")
    return length


def _no_duration(text: object) -> ValueError:
    return ValueError(f"{text!r:.60} is no duration: {_problem(text)}; allowed: {ALLOWED}")


def format_duration(length: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as exactly `length`; weeks are written as days.

    Raises: ValueError for a negative length or one of more than 100 years.
    """
    if not timedelta(0) <= length <= LONGEST_DURATION:
        raise ValueError(f"{length!r} has no text: allowed are 0 to 100 years")
    parts = []
    for name in ("d", "h", "m", "s"):
        count, length = divmod(length, UNITS[name])
        parts.append(f"{count}{name}" if count else "")
    if length:
        parts.append(f"{length / UNITS['ms']:g}ms")
    return "".join(parts) or "0s"


def rough_duration(length: timedelta) -> str:
    """For people: in its largest unit and the next one, a second at least."""
    left = max(abs(length), UNITS["s"])
    words: list[str] = []
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, UNITS[unit])
        words += [f"{count}{unit}" if count else ""] if count or words else []
    return "".join(words[:2])


def _problem(text: object) -> str:
    if not isinstance(text, str) or not text or re.fullmatch(_NUMBER, text):
        return "a number and its unit are needed"
    if text.startswith(("+", "-")):
        return "it can't have a sign"
    return "the units are w, d, h, m, s, ms, each once, the largest first, no blanks"
