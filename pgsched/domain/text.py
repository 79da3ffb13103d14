"""Text of others, made fit for where it goes: into Postgres, onto a terminal, into a line of an error."""

from __future__ import annotations

import re

_UNPRINTABLE_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def storable(text: str) -> str:
    """Text that Postgres takes: no NUL, no lone surrogates."""
    return text.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode("utf-8")


def printable(text: str) -> str:
    """The text with control, format and other characters that aren't printable as escapes."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def cut(text: str, limit: int) -> str:
    """At most so many characters, the last an ellipsis where there were more."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def printable_json(document: str) -> str:
    """JSON that says the same, with escapes for what would move a terminal and JSON lets through."""
    if document.isascii() and "\x7f" not in document:
        return document  # as nearly all are, which is quick to tell
    return _UNPRINTABLE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", document)
