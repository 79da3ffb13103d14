"""Tasks that say in the journal what they do and find."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from pgsched import ExecutionContext, one_time

VERSION = 1


def tell(what: str, context: ExecutionContext, **facts: object) -> None:
    fields = {"probe": what, "instance": context.task_instance, "version": VERSION}
    print(json.dumps({**fields, "pid": os.getpid(), **facts}), flush=True)


@one_time("note")
def note(_data: object, context: ExecutionContext) -> None:
    tell("ended", context)


@one_time("hold")
def hold(_data: object, context: ExecutionContext) -> None:
    """Until it is let go."""
    tell("started", context)
    while not Path("/etc/pgsched/let-go", context.task_instance).exists():
        time.sleep(0.1)
    tell("ended", context)


@one_time("eat")
def eat(_data: object, context: ExecutionContext) -> None:
    """Until it is killed."""
    tell("started", context)
    eaten = []
    while True:
        eaten.append(bytearray(os.urandom(1 << 20)))


@one_time("look")
def look(_data: object, context: ExecutionContext) -> None:
    """What the unit's rules leave of the machine."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    tell(
        "found",
        context,
        etc=written("/etc/mark"),
        code=written("/etc/pgsched/mark"),
        tmp=written("/tmp/mark"),
        homes=os.access("/root", os.R_OK) or os.path.lexists("/home/somebody"),
        environment=dict(os.environ),
        init=Path("/proc/1").exists(),
        status=dict(line.split(":\t") for line in status.splitlines() if ":\t" in line),
    )


def written(path: str) -> str:
    try:
        Path(path).write_text("", encoding="ascii")
    except OSError as error:
        return str(error.strerror)
    return "written"
