"""`pgsched health`: asks a worker's own endpoint how it fares, for probes that run a command. Needs no database."""

import json
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import typer

from pgsched.cli.arguments import AsJson, ConfigFile, Dsn, at_most_one
from pgsched.cli.database import settings_from
from pgsched.cli.exits import ExitStatus
from pgsched.cli.output import note, say, say_json

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 5.0
"""A worker answers at once, or not at all."""

LONGEST_ANSWER_BYTES = 1 << 16

EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 what to ask where a worker listens on all of them


class Place(NamedTuple):
    host: str
    port: int


def health(
    live: Annotated[
        bool,
        typer.Option("--live", help="Whether it should be started anew: no database involved."),
    ] = False,
    ready: Annotated[
        bool, typer.Option("--ready", help="Whether it takes on work [this is the default].")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="Where the worker serves it, such as http://127.0.0.1:9187 [default: monitoring.host and port].",
        ),
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    dsn: Dsn = None,
) -> None:
    """Ask a worker how it fares: exit 0 when all is well, 1 when not, 75 when nothing answers."""
    at_most_one({"--live": live, "--ready": ready})
    place = _configured(config, dsn) if url is None else _place(url)
    document = _asked(place, "/livez" if live else "/readyz")
    if as_json:
        say_json(document)
    else:
        say(_line("live" if live else "ready", document))
    if not document["ok"]:
        raise typer.Exit(ExitStatus.CANNOT)


def _configured(config: "Path | None", dsn: str | None) -> Place:
    from pgsched.errors import ConfigError

    monitoring = settings_from(config, dsn).monitoring
    if not monitoring.port:
        raise ConfigError(
            "no worker is asked to serve its health at a known port",
            key="monitoring.port",
            allowed="a whole number from 1 to 65535; or --url",
        )
    return Place(EVERY_ADDRESS.get(monitoring.host, monitoring.host), monitoring.port)


def _place(url: str) -> Place:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme != "http" or not parts.hostname or parts.path not in {"", "/"}:
        raise typer.BadParameter(
            f"{url!r:.60} is not of the form http://HOST:PORT", param_hint="--url"
        )
    return Place(parts.hostname, port or 80)


def _asked(place: Place, path: str) -> dict[str, Any]:
    from http.client import HTTPConnection, HTTPException

    connection = HTTPConnection(*place, timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse().read(LONGEST_ANSWER_BYTES)
        document: dict[str, Any] = json.loads(answer)
        _line("", document)
    except (OSError, HTTPException) as error:
        raise _unheard(place, str(error) or type(error).__name__) from None
    except (ValueError, LookupError, TypeError, AttributeError):
        raise _unheard(place, "what answers is no worker of pgsched's") from None
    finally:
        connection.close()
    return document


def _unheard(place: Place, reason: str) -> typer.Exit:
    note(f"no worker answers at {place.host}, port {place.port}: {reason}")
    return typer.Exit(ExitStatus.UNAVAILABLE)


def _line(word: str, document: dict[str, Any]) -> str:
    """`ready`, or what is wrong."""
    wrong = [
        f"{name}: {check['detail']}"
        for name, check in document["checks"].items()
        if not check["ok"]
    ]
    return word if document["ok"] else f"not {word}: {'; '.join(wrong)}"
