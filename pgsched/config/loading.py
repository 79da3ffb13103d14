"""Flags, environment and file as one Settings, and what is wrong with them, one line each. Never shows a DSN."""

from __future__ import annotations

import json
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_origin

from pydantic import BaseModel, ValidationError

from pgsched.config.document import Document, Key, read_document
from pgsched.config.settings import LONGEST_SHOWN, Settings
from pgsched.domain.duration import format_duration
from pgsched.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

DEFAULT_FILES = (Path("pgsched.yaml"), Path("/etc/pgsched/pgsched.yaml"))
"""Where a configuration is looked for when none is named; the first that exists is used."""

DSN_KEYS = (("database", "dsn"), ("database", "dsn_file"))
"""Two ways to say one thing: the stronger source has the word, whichever it uses."""

LONGEST_DSN_BYTES = 1 << 16
"""Whatever is larger is another file."""

SECRETS = (("database", "dsn"), ("monitoring", "token"))
"""Keys whose wrong values are not quoted either."""

_VARIABLE = re.compile(r"PGSCHED_(?P<section>.*?)__(?P<key>.*)", re.DOTALL)
"""Variables of one word, such as PGSCHED_CONFIG, are no keys."""


class Override(NamedTuple):
    """A value from outside the file: its text, and the variable or flag that it came by."""

    origin: str
    key: Key
    text: str


def default_file() -> Path | None:
    """The configuration file to use where none is named, or None."""
    return next((file for file in DEFAULT_FILES if file.is_file()), None)


def load_settings(
    file: Path | None, *, dsn: str | None = None, processes: int | None = None
) -> Settings:
    """The settings from flags, `PGSCHED_SECTION__KEY`, `DATABASE_URL` (for the DSN alone) and the file, in this order.

    Raises: ConfigError, one line for the first problem; the others are its notes, one line each.
    """
    document, origins = read_document(file) if file else ({}, {})
    overrides = [*_overrides(os.environ, dsn=dsn, processes=processes)]
    layer: Document = {}
    for origin, (section, key), text in overrides:
        value = _value(section, key, text)
        if (section, key) in DSN_KEYS:
            _make_way(value, key, layer, document)
        layer.setdefault(section, {})[key] = value
        origins[section, key] = origin
        origins.setdefault((section,), origin)
    folder = file.absolute().parent if file else Path.cwd()
    for each in (layer, document):
        _read_dsn(each, origins, folder)
    try:
        settings = Settings(layers=(layer, document))  # type: ignore[call-arg]  # see the sources
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True)
        raise _as_one([_problem(detail, origins, file) for detail in details]) from None
    settings._file = file.absolute() if file else None
    settings._overrides = tuple({override.key: override.origin for override in overrides}.values())
    return settings


# Flags and the environment


def _overrides(
    environment: Mapping[str, str], *, dsn: str | None, processes: int | None
) -> Iterator[Override]:
    """The weakest first. An empty variable counts as none: that is how containers leave one out."""
    if url := environment.get("DATABASE_URL"):
        yield Override("DATABASE_URL", ("database", "dsn"), url)
    for variable, text in sorted(environment.items()):
        match = _VARIABLE.fullmatch(variable.upper())
        if match and text:
            yield Override(variable, (_named(match["section"]), _named(match["key"])), text)
    if dsn is not None:
        yield Override("--dsn", ("database", "dsn"), dsn)
    if processes is not None:
        yield Override("--processes", ("worker", "processes"), str(processes))


def _named(part: str) -> str:
    """A part of a variable's name as a key; what isn't UTF-8 in it is no part of any."""
    return part.lower().encode("utf-8", "backslashreplace").decode()


def _value(section: str, key: str, text: str) -> object:
    """What `text` means for a key, as far as it means anything; the check tells the rest."""
    field = _fields(section).get(key)
    if field is None:
        return text
    if field.annotation in {int, int | None} and re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return int(text)
    if get_origin(field.annotation) is tuple:
        return _list(text)
    return None if field.default is None and text.lower() == "null" else text


def _list(text: str) -> object:
    if not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


# The DSN, from a file


def _make_way(value: object, key: str, *weaker: Document) -> None:
    """That no file is meant (null) says nothing of a DSN."""
    keys = ("dsn_file",) if key == "dsn_file" and value is None else ("dsn", "dsn_file")
    for layer in weaker:
        for each in keys:
            layer.get("database", {}).pop(each, None)


def _read_dsn(layer: Document, origins: dict[Key, str], folder: Path) -> None:
    """Where a layer names a file, what that holds is its DSN. Raises: ConfigError."""
    database = layer.get("database", {})
    name = database.get("dsn_file")
    if not isinstance(name, str):
        return  # none is named, or the check tells what is wrong with it
    key, origin = "database.dsn_file", origins["database", "dsn_file"]
    if database.get("dsn") is not None:
        raise ConfigError(
            "database.dsn is there too", key=key, file=origin, allowed="one of the two"
        )
    path = folder / name
    try:
        with path.open("rb") as opened:
            content = opened.read(LONGEST_DSN_BYTES + 1)
        text = content.decode().strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        problem = f"{name!r:.{LONGEST_SHOWN}} can't be read: {reason}"
        raise ConfigError(
            problem, key=key, file=origin, allowed="a file that holds a DSN"
        ) from None
    if not text or len(content) > LONGEST_DSN_BYTES:
        problem = f"{name!r:.{LONGEST_SHOWN}} is {'too large' if text else 'empty'}"
        raise ConfigError(problem, key=key, file=origin, allowed="a file that holds a DSN")
    database |= {"dsn": text, "dsn_file": None}
    origins["database", "dsn"] = str(path)


# Problems


def _problem(detail: ErrorDetails, origins: Mapping[Key, str], file: Path | None) -> ConfigError:
    location = tuple(str(part) for part in detail["loc"][:2])
    if "key" in detail.get("ctx", {}):
        location = (*location, detail["ctx"]["key"])
    origin = origins.get(location) or origins.get(location[:1]) or (str(file) if file else None)
    name = location[-1]
    if detail["type"] == "extra_forbidden":
        known = list(_fields(location[0])) if len(location) > 1 else list(Settings.model_fields)
        kind = "key" if len(location) > 1 else "section"
        problem, allowed = f"unknown {kind}{did_you_mean(name, known)}", ", ".join(known)
    else:
        extra = _fields(location[0])[name].json_schema_extra
        assert isinstance(extra, dict)
        problem, allowed = _what_is_wrong(detail), str(extra["allowed"])
    return ConfigError(problem, key=".".join(location), file=origin, allowed=allowed)


def _what_is_wrong(detail: ErrorDetails) -> str:
    value = _quoted(detail["input"], is_secret=detail["loc"][:2] in SECRETS)
    match detail["type"]:
        case "value_error" | "pair":
            return detail["msg"].removeprefix("Value error, ")
        case "greater_than_equal" | "less_than_equal":
            return f"{value} is out of bounds"
        case "literal_error":
            known = re.findall(r"'(\w+)'", str(detail["ctx"]["expected"]))
            return f"{value} is unknown{did_you_mean(str(detail['input']), known)}"
        case "int_type":
            return f"{value} is no whole number"
        case "string_type":
            return f"{value} is no text (quotes make it one)"
        case _:
            return f"{value} can't stand here"


def _quoted(value: object, *, is_secret: bool) -> str:
    """A wrong value as it would stand in the file, shortened."""
    if is_secret:
        return "this"
    if isinstance(value, timedelta):
        return format_duration(value)
    return "null" if value is None else f"{value!r:.{LONGEST_SHOWN}}"


def _as_one(problems: list[ConfigError]) -> ConfigError:
    first, *others = problems
    for other in others:
        first.add_note(str(other))
    return first


def _fields(section: str) -> dict[str, FieldInfo]:
    """The fields of a section by the names that users give them."""
    found = Settings.model_fields.get(section)
    model = found.annotation if found else None
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return {}
    return {field.alias or name: field for name, field in model.model_fields.items()}
