"""What is known without the database: what pgsched needs of it, what a configuration says, and this machine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import TZPATH

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pgsched.domain.task import AnyTask

HEARTBEAT_TIMEOUT = timedelta(minutes=5)
"""The default of worker.heartbeat_timeout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """What a configuration says; where a DSN is all there is, the defaults."""

    is_given: bool = False
    file: str | None = None
    has_dsn: bool = False
    """Whether the DSN came with the command line: what the file says is another database then."""
    is_pooled: bool = False
    heartbeat_timeout: timedelta = HEARTBEAT_TIMEOUT
    tasks: Mapping[str, AnyTask] | None = None
    """Those that the task modules declare; None where none are named, or they can't be used."""
    problem: str | None = None
    """Why the task modules can't be used."""

    @property
    def recurring(self) -> list[str]:
        """The tasks that have a schedule."""
        return [name for name, task in (self.tasks or {}).items() if task.schedule is not None]

    def command(self, name: str) -> str:
        """A command of ours as it is to be typed here. Its --dsn must be filled in: it may hold a password."""
        config = f" --config {quote(self.file)}" if self.file else ""
        return f"pgsched {name}{config}{' --dsn DSN' if self.has_dsn else ''}"


class Schema(NamedTuple):
    """What `pgsched migrate` would say."""

    pending: list[str]
    problem: str | None


class Pooling(NamedTuple):
    """What stands between us and the server."""

    is_pooled: bool
    loses_session: bool


class Machine(NamedTuple):
    """This machine: its time, how far its clock is ahead of the database's, how exactly that was measured, and which
    release of the time zone database its programs use.
    """

    now: datetime
    clock_offset: timedelta
    uncertainty: timedelta
    time_zones: str | None


def time_zone_release() -> str | None:
    """Such as 2026b (or 2026.2): the machine's, which goes first, else that of the package tzdata."""
    for folder in TZPATH:
        if (Path(folder) / "Etc").is_dir():
            return _release_in(Path(folder))
    try:
        return version("tzdata")
    except PackageNotFoundError:
        return None


def _release_in(folder: Path) -> str | None:
    """Distributions keep it in one of two files, or in none."""
    for name in ("tzdata.zi", "+VERSION"):
        try:
            first = (folder / name).read_text(encoding="utf-8").split("\n", 1)[0]
        except OSError:
            continue
        return first.removeprefix("# version ").strip()
    return None
