"""`pgsched status`: how everything does, what is wrong first. A view: whatever it shows, its exit status is 0."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgsched.cli.arguments import AsJson, ConfigFile, Dsn, at_most_one
from pgsched.cli.database import connected, settings_from
from pgsched.cli.output import as_json as as_json_value
from pgsched.cli.output import say_drawn, say_json

if TYPE_CHECKING:
    from pgsched.domain.overview import Overview

EVERY = timedelta(seconds=2)


def status(
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on showing it until Ctrl-C; needs a terminal.")
    ] = False,
    interval: Annotated[
        str | None,
        typer.Option(
            "--interval", metavar="DURATION", help="With --watch: how often [default: 2s]."
        ),
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    dsn: Dsn = None,
) -> None:
    """Show how everything does: what is wrong, the queue, the workers, what fails, what recurs."""
    at_most_one({"--watch": watch, "--json": as_json})
    every = _interval(interval, is_watched=watch)
    settings = settings_from(config, dsn)
    from pgsched.store.statement import Names

    names = Names(settings.database.table, settings.database.schema_name)
    with connected(settings) as conninfo:
        if watch:
            from pgsched.cli.watching import watch as go_on

            go_on(conninfo, names, every)
            return
        from pgsched.store.connecting import connection
        from pgsched.store.overview import overview

        with connection(conninfo) as opened:
            found = overview(opened, names)
    if as_json:
        say_json(document_of(found))
        return
    from pgsched.cli.screen import screen_of

    say_drawn(*screen_of(found))


def document_of(overview: "Overview") -> dict[str, Any]:
    """The overview for programs. Lengths are in seconds; what `at_least` names may be more."""
    from pgsched.domain.overview import problems_of

    workers = [
        _object({
            **seen.presence._asdict(),
            "seen_at": seen.seen_at,
            "is_alive": seen.is_alive,
            "held": seen.held,
        })
        for seen in overview.workers
    ]
    lists = {name: getattr(overview, name) for name in ("due", "failing", "failed", "recurring")}
    return {
        "at": as_json_value(overview.at),
        "problems": [problem._asdict() for problem in problems_of(overview)],
        "queue": _object(overview.queue._asdict()),
        "workers": workers,
        **{name: [_object(each._asdict()) for each in found] for name, found in lists.items()},
    }


def _object(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{name}_s" if isinstance(value, timedelta) else name: _value(value)
        for name, value in fields.items()
    }


def _value(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else as_json_value(value)


def _interval(text: str | None, *, is_watched: bool) -> timedelta:
    from pgsched.domain.duration import parse_duration

    if text is None:
        return EVERY
    if not is_watched:
        raise typer.BadParameter("it goes with --watch only", param_hint="--interval")
    try:
        every = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--interval") from None
    if every < timedelta(milliseconds=100):
        raise typer.BadParameter(
            f"{text!r} is too short; allowed: 100ms and more", param_hint="--interval"
        )
    return every
