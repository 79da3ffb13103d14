"""What can go wrong, as one tree.

    PgschedError
    ├── ConfigError                    config is invalid                      exit 78
    │   └── TaskModuleError            a task module can't be used            exit 78
    ├── DatabaseUnavailable            can't be reached, or not now           exit 75
    │   ├── SchemaMismatch             too old or too new                     exit 75
    │   ├── RightMissing               the role may not do it                 exit 75
    │   └── RowsLocked                 somebody has locked them, for longer than was to be waited
    ├── ExecutionNotFound              no such task instance                  exit 1
    ├── ExecutionRunning               picked right now                       exit 1
    ├── ExecutionExists                already there                          exit 1
    ├── MaintenanceRunning             somebody else is at it                 exit 1
    ├── EmbeddedServerError            the private Postgres won't start       exit 75
    └── InvalidData                    data that a task can't take, or that isn't JSON

Every error carries its facts as fields; its message says what is wrong, where, and what is allowed.
Never formats for a terminal, never exits: that is the command line's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Terminated(SystemExit):
    """SIGTERM, where nothing else takes note of it: none of the tree, and no exit that somebody's code asked for."""


class PgschedError(Exception):
    """The root of all errors that pgsched raises on purpose."""


class ConfigError(PgschedError):
    """The configuration is invalid; trying again won't help.

    `key` is the dotted key (`worker.processes`), `file` where it was read, `allowed` what would be right.
    """

    def __init__(
        self,
        problem: str,
        *,
        key: str | None = None,
        file: str | None = None,
        allowed: str | None = None,
    ) -> None:
        self.problem = problem
        self.key = key
        self.file = file
        self.allowed = allowed
        where = ": ".join(part for part in (file, key) if part)
        message = f"{where}: {problem}" if where else problem
        super().__init__(f"{message} (allowed: {allowed})" if allowed else message)


class TaskModuleError(ConfigError):
    """A task module can't be imported, or what it declares can't be used."""

    def __init__(self, module: str, problem: str) -> None:
        self.module = module
        self.told = problem
        super().__init__(f"task module {module!r}: {problem}")


class DatabaseUnavailable(PgschedError):
    """The database can't be reached or can't serve now; trying again may help.

    `reason` never holds a password.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"database not available: {reason}")


class SchemaMismatch(DatabaseUnavailable):
    """The schema is not the one that this release needs. `found` is None where there is none."""

    def __init__(self, table: str, *, found: int | None, needed: int) -> None:
        self.table = table
        self.found = found
        self.needed = needed
        PgschedError.__init__(self, self._sentence())
        self.reason = str(self)

    def _sentence(self) -> str:
        if self.found is None:
            return f"the schema of table {self.table!r} is missing: run `pgsched migrate`"
        if self.found < self.needed:
            return (
                f"the schema of table {self.table!r} is too old: it is at version {self.found}, "
                f"this pgsched needs {self.needed}: run `pgsched migrate`"
            )
        return (
            f"the schema of table {self.table!r} is too new: it is at version {self.found}, "
            f"this pgsched knows {self.needed}: upgrade pgsched"
        )


class RightMissing(DatabaseUnavailable):
    """The role lacks a right: whoever can do without what it asked for need not wait for somebody to grant it."""


class RowsLocked(DatabaseUnavailable):
    """Somebody has locked what was to be written, and not let go in time. The connection is as good as before."""


class ExecutionNotFound(PgschedError):
    """No execution of that task instance (for retry and discard: no failed one)."""

    def __init__(self, task_name: str, task_instance: str, *, what: str = "execution") -> None:
        self.task_name = task_name
        self.task_instance = task_instance
        super().__init__(f"no {what} of task {task_name!r}, instance {task_instance!r}")


class ExecutionRunning(PgschedError):
    """The execution is picked by a worker now, so it can't be changed."""

    def __init__(self, task_name: str, task_instance: str) -> None:
        self.task_name = task_name
        self.task_instance = task_instance
        super().__init__(
            f"task {task_name!r}, instance {task_instance!r} is running: try again when it has ended"
        )


class ExecutionLost(PgschedError):
    """A run may not complete its execution any more: its worker was thought dead, and others have it now."""

    def __init__(self, task_name: str, task_instance: str) -> None:
        self.task_name = task_name
        self.task_instance = task_instance
        super().__init__(
            f"task {task_name!r}, instance {task_instance!r} is no longer its worker's to complete: nothing was written"
        )


class ExecutionExists(PgschedError):
    """An execution of that task instance is already there."""

    def __init__(self, task_name: str, task_instance: str) -> None:
        self.task_name = task_name
        self.task_instance = task_instance
        super().__init__(f"task {task_name!r}, instance {task_instance!r} is already scheduled")


class MaintenanceRunning(PgschedError):
    """Indexes of the table are being built or rebuilt already, by maintenance or a migration."""

    def __init__(self, table: str, holder: str) -> None:
        self.table = table
        self.holder = holder
        super().__init__(f"the indexes of table {table!r} are being worked on already, by {holder}")


class EmbeddedServerError(DatabaseUnavailable):
    """The embedded Postgres can't be found or won't start."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.args = (f"embedded Postgres: {reason}",)


class InvalidData(PgschedError, ValueError):
    """Data that isn't JSON, or doesn't fit what the task declares. `problems` are one line each."""

    def __init__(self, problem: str, *, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join((problem, *self.problems)) if problems else problem)


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """A hint for a misspelt word: ` — did you mean 'x'?`, or nothing."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f" — did you mean {close[0]!r}?" if close else ""
