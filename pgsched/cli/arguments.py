"""Options and arguments that commands share, and how their text becomes values.

No postponed annotations here and in commands/: typer reads them when the program starts.
"""

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeAlias

import typer

from pgsched.errors import did_you_mean

LONGEST_DATA_FILE_BYTES = 64 << 20
"""Far beyond what is wise for a row; an endless file must not fill the memory."""


def _or_given_before(name: str) -> Callable[[typer.Context, Any], Any]:
    """An option may stand before or after the command's name; the nearest to the end counts."""

    def nearest(context: typer.Context, value: Any) -> Any:
        if value is not None:
            context.meta[f"pgsched.{name}"] = value
        return context.meta.get(f"pgsched.{name}")

    return nearest


def _one_of(*allowed: str) -> Callable[[str | None], str | None]:
    def check(value: str | None) -> str | None:
        if value is not None and value not in allowed:
            raise typer.BadParameter(
                f"{value!r}{did_you_mean(value, allowed)} (allowed: {', '.join(allowed)})"
            )
        return value

    return check


def whole(*, least: int = -sys.maxsize, most: int = sys.maxsize) -> Callable[[str | int], int]:
    """A parser of whole numbers: typer's own words for a wrong one do not say what is allowed."""
    bounds = "".join(
        f" {word} {bound}"
        for word, bound in (("from", least), ("to", most))
        if abs(bound) < sys.maxsize
    )

    def parsed(given: str | int) -> int:
        with suppress(ValueError):
            if least <= int(given) <= most:
                return int(given)
        raise typer.BadParameter(f"{given!r:.60} (allowed: a whole number{bounds})")

    return parsed


_CONFIG = {
    "metavar": "FILE",
    "help": "The configuration [env: PGSCHED_CONFIG; default: ./pgsched.yaml, /etc/pgsched/pgsched.yaml].",
    "callback": _or_given_before("config"),
}
_DSN = {
    "metavar": "DSN",
    "help": "The database [env: PGSCHED_DATABASE__DSN, DATABASE_URL].",
    "callback": _or_given_before("dsn"),
}
STATES = ("due", "scheduled", "running", "retrying", "failed")
IF_EXISTS = ("fail", "ignore")

ConfigFile: TypeAlias = Annotated[Path | None, typer.Option("--config", "-c", **_CONFIG)]
ConfigFileOrVariable: TypeAlias = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="PGSCHED_CONFIG", show_envvar=False, **_CONFIG),
]
Dsn: TypeAlias = Annotated[str | None, typer.Option("--dsn", **_DSN)]

TaskName: TypeAlias = Annotated[str, typer.Argument(metavar="TASK", help="The name of the task.")]
InstanceName: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="INSTANCE", help="The instance; one that begins with - goes after a --."
    ),
]
OptionalTaskName: TypeAlias = Annotated[
    str | None, typer.Argument(metavar="TASK", help="The name of the task.")
]
OptionalInstanceName: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="INSTANCE", help="The instance; one that begins with - goes after a --."
    ),
]
FromFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--from-file",
        metavar="FILE|-",
        help="Instead of TASK INSTANCE: a file (- is stdin), each line a JSON object with task, instance and, "
        "if need be, data, at, in, priority. The command line's --at, --in, --priority are for rows without.",
    ),
]
FromLine: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--from-line",
        metavar="N",
        parser=whole(least=1),
        help="Go on with the file from its line N.",
    ),
]
Data: TypeAlias = Annotated[
    str | None, typer.Option("--data", metavar="JSON", help="The data, as JSON.")
]
DataFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--data-file", metavar="FILE|-", help="A file with the data; - is stdin."),
]
At: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="TIME",
        help="When: ISO 8601 with a zone, such as 2030-01-31T09:00:00+01:00.",
    ),
]
In: TypeAlias = Annotated[
    str | None,
    typer.Option("--in", metavar="DURATION", help="In how long: 90s, 5m, 2h30m, 1d."),
]
Priority: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--priority", metavar="N", parser=whole(), help="The highest goes first, none goes last."
    ),
]
StateName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--state",
        metavar="|".join(STATES),
        help="Only those in this state.",
        callback=_one_of(*STATES),
        autocompletion=lambda: list(STATES),
    ),
]
IfExists: TypeAlias = Annotated[
    str,
    typer.Option(
        "--if-exists",
        metavar="|".join(IF_EXISTS),
        help="When an instance is already there (it is left as it is): exit 1, or 0.",
        callback=_one_of(*IF_EXISTS),
        autocompletion=lambda: list(IF_EXISTS),
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")]


def parsed_time(text: str | None) -> datetime | None:
    """`--at`: an instant. Raises: BadParameter for a time without a zone, which is another one elsewhere."""
    if text is None:
        return None
    try:
        return instant_of(text)
    except ValueError as error:
        raise _bad("--at", str(error)) from None


def instant_of(text: str) -> datetime:
    """The instant that ISO 8601 with a zone says. Raises: ValueError (also for what isn't text)."""
    try:
        instant = datetime.fromisoformat(text)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{text!r:.60} is no time ({error!s:.100}); allowed: ISO 8601 with a zone, years 1 to 9999, "
            "such as 2030-01-31T09:00:00Z"
        ) from None
    if instant.utcoffset() is None:
        raise ValueError(
            f"{text!r:.60} has no zone, and would mean another time on another machine: "
            "add Z for UTC, or an offset such as +02:00"
        )
    return instant


def parsed_delay(text: str | None) -> timedelta | None:
    """`--in`: a length of time. Raises: BadParameter."""
    if text is None:
        return None
    from pgsched.domain.duration import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise _bad("--in", str(error)) from None


def parsed_data(text: str | None, file: Path | None) -> Any:
    """`--data` or `--data-file`: what the JSON says. Raises: BadParameter."""
    if file is not None:
        at_most_one({"--data": text is not None, "--data-file": True})
        return _json("--data-file", _read(file))
    return None if text is None else _json("--data", text)


def at_most_one(given: dict[str, bool]) -> None:
    """Refuse options that exclude each other. Raises: BadParameter."""
    names = [name for name, is_given in given.items() if is_given]
    if len(names) > 1:
        raise _bad(names[1], f"it can't go with {names[0]}: give one of them")


def _json(option: str, text: str) -> Any:
    try:
        return strict_json(text)
    except ValueError as error:
        raise _bad(option, f"not JSON: {error}") from None


def strict_json(text: str) -> Any:
    """What the JSON says, as RFC 8259 has it. Raises: ValueError, JSONDecodeError among them."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
"""Made once: a loaded file asks for it ten million times."""


def _read(file: Path) -> str:
    try:
        if str(file) == "-":
            content = sys.stdin.buffer.read(LONGEST_DATA_FILE_BYTES + 1)
        else:
            with file.open("rb") as opened:
                content = opened.read(LONGEST_DATA_FILE_BYTES + 1)
        if len(content) > LONGEST_DATA_FILE_BYTES:
            raise _bad("--data-file", f"larger than {LONGEST_DATA_FILE_BYTES} bytes")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _bad("--data-file", f"not UTF-8: byte {error.start + 1} of {str(file)!r}") from None
    except OSError as error:
        raise _bad("--data-file", f"{str(file)!r} can't be read: {error.strerror}") from None


def _bad(option: str, problem: str) -> typer.BadParameter:
    return typer.BadParameter(problem, param_hint=option)
