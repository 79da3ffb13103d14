"""One load as it was asked for: to an exit status, with all that is said at its end."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgsched.cli.arguments import parsed_delay, parsed_time
from pgsched.cli.database import connected, settings_from
from pgsched.cli.exits import ExitStatus
from pgsched.cli.load.lines import opened
from pgsched.cli.load.loading import Loading
from pgsched.cli.load.rows import Defaults
from pgsched.cli.output import note, say, say_json
from pgsched.domain.request import checked_priority, checked_time
from pgsched.store.connecting import connection
from pgsched.store.statement import Names

if TYPE_CHECKING:
    from pathlib import Path

    from pgsched.cli.load.loading import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """The options of `pgsched schedule --from-file`, as they were given."""

    file: Path
    from_line: int
    at: str | None
    in_: str | None
    priority: int | None
    if_exists: str
    as_json: bool
    config: Path | None
    dsn: str | None

    def defaults(self) -> Defaults:
        """Raises: BadParameter, InvalidData."""
        return Defaults(
            at=checked_time(parsed_time(self.at)),
            delay=parsed_delay(self.in_),
            priority=checked_priority(self.priority),
        )

    def command_from(self, line: int) -> str:
        """The command that goes on from a line. Its --dsn must be filled in: it may hold a password."""
        options = {
            "--at": self.at,
            "--in": self.in_,
            "--priority": self.priority,
            "--if-exists": None if self.if_exists == "fail" else self.if_exists,
            "--config": self.config,
            "--dsn": None if self.dsn is None else "DSN",
        }
        given = [f"{name}={value}" for name, value in options.items() if value is not None]
        flags = ["--json"] if self.as_json else []
        words = [f"--from-file={self.file}", f"--from-line={line}", *given, *flags]
        return shlex.join(["pgsched", "schedule", *words])


def load(request: LoadRequest) -> ExitStatus:
    """Load the file. Raises: BadParameter, ConfigError, DatabaseUnavailable, KeyboardInterrupt, SystemExit."""
    defaults = request.defaults()
    settings = settings_from(request.config, request.dsn)
    names = Names(settings.database.table, settings.database.schema_name)
    with (
        opened(request.file) as stream,
        connected(settings) as conninfo,
        connection(conninfo) as ours,
    ):
        loading = Loading(ours, names, request.file, defaults)
        try:
            loading.run(stream, first=request.from_line)
        except BaseException:
            note(_where_it_stopped(request, loading.tally))
            raise
    return _ended(request, loading.tally)


def _where_it_stopped(request: LoadRequest, tally: Tally) -> str:
    command = request.command_from(tally.last_line + 1)
    if tally.last_line < request.from_line:
        return f"stopped before anything was committed; start again with: {command}"
    return f"stopped: everything up to line {tally.last_line} is committed; go on with: {command}"


def _ended(request: LoadRequest, tally: Tally) -> ExitStatus:
    """As with one execution, one that is already there is left as it is, and is an error unless told otherwise."""
    is_refused = request.if_exists == "fail" and tally.already_there > 0
    if request.as_json:
        say_json({"new": tally.new, "already_there": tally.already_there, "bad": tally.bad})
    else:
        counts = f"{tally.new} new, {tally.already_there} already there, {tally.bad} bad"
        say(f"loaded {str(request.file)!r}: {counts}")
    if is_refused:
        note(
            "executions that were already there are left as they are; --if-exists=ignore exits with 0"
        )
    return ExitStatus.CANNOT if tally.bad or is_refused else ExitStatus.DONE
