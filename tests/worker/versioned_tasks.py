"""Tasks that write down which version of this file they are of. Tests rewrite it."""

from __future__ import annotations

import os
import pathlib
import time
from typing import TYPE_CHECKING

from pgsched import one_time

if TYPE_CHECKING:
    from pgsched import ExecutionContext

VERSION = "old"


def note(what: str, context: ExecutionContext) -> None:
    line = (
        f"{time.time():.6f} {os.getpid()} {what} {context.task_instance} {context.fencing_token}\n"
    )
    file = os.open(os.environ["DIARY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, line.encode())
    os.close(file)


def wait_for_leave() -> None:
    """How the import of some versions takes long."""
    pathlib.Path(os.environ["DIARY"] + ".importing").touch()
    while not pathlib.Path(os.environ["DIARY"] + ".go").exists():
        time.sleep(0.01)


@one_time("work")
def work(data: float, context: ExecutionContext) -> None:
    note(f"{VERSION}-started", context)
    time.sleep(data)
    note("ended", context)


@one_time("work-apart", isolation="process")
def work_apart(data: float, context: ExecutionContext) -> None:
    work.function(data, context)
