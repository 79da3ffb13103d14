"""`pgsched next`: the coming times of a schedule. Needs no database and no configuration."""

from datetime import datetime
from typing import Annotated

import typer

from pgsched.cli.arguments import AsJson, ConfigFile, Dsn, whole
from pgsched.cli.output import now, relative, say_json, say_table
from pgsched.domain.instant import iso


def next_times(
    schedule: Annotated[
        str,
        typer.Argument(
            metavar="SCHEDULE",
            help="'0 9 * * MON-FRI' (or 6 fields, seconds first), 'every 1h30m', 'daily 09:00,17:30'.",
        ),
    ],
    timezone: Annotated[
        str, typer.Option("--timezone", metavar="ZONE", help="An IANA name such as Europe/Rome.")
    ] = "UTC",
    count: Annotated[
        int,
        typer.Option(
            "--count", metavar="N", parser=whole(least=1, most=1000), help="How many times."
        ),
    ] = 5,
    as_json: AsJson = False,
    _config: ConfigFile = None,
    _dsn: Dsn = None,
) -> None:
    """Show when a schedule would run next, as if each run took no time."""
    start = now()
    times = _times(schedule, timezone, start, count)
    if as_json:
        say_json({
            "schedule": schedule,
            "timezone": timezone,
            "times": [iso(time) for time in times],
        })
    elif timezone == "UTC":
        say_table(("time", "relative"), [(iso(time), relative(time, start)) for time in times])
    else:
        rows = [(iso(time), _local(time, timezone), relative(time, start)) for time in times]
        say_table(("time", timezone, "relative"), rows)


def _times(schedule: str, timezone: str, start: datetime, count: int) -> list[datetime]:
    from pgsched.domain.schedule import coming_times, parse_schedule

    try:
        return coming_times(parse_schedule(schedule, timezone), start, count)
    except (ValueError, TypeError) as error:
        raise typer.BadParameter(str(error), param_hint="SCHEDULE") from None


def _local(time: datetime, timezone: str) -> str:
    from zoneinfo import ZoneInfo

    return time.astimezone(ZoneInfo(timezone)).strftime("%a %Y-%m-%d %H:%M:%S %z")
