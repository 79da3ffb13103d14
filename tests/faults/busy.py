"""A worker that has work when the fault comes, and what must have become of it afterwards."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.worker.running import Project, Worker

HEALED_S = 5.0
"""So soon after a fault is over, work goes on. The timeouts of waits are longer, for a machine that is busy."""


@contextmanager
def busy(project: Project, worker: Worker, *, spans: float = 1.5) -> Generator[None]:
    """Tasks run when the fault comes and end while it lasts: each result is written once it is over, each ran once,
    and what is scheduled then is run.
    """
    project.client.schedule_many([("sleep", f"plain-{n}", spans) for n in range(3)])
    project.client.schedule_many([("sleep-async", f"async-{n}", spans) for n in range(3)])
    project.wait_entries("started", count=6)
    yield
    healed_at = time.monotonic()
    wait_until(
        lambda: schedule(project, "afterwards"), describe="the server to be back for clients"
    )
    wait_until(lambda: project.diary("ran", "afterwards"), describe="work to go on")
    assert time.monotonic() - healed_at < HEALED_S
    for instance in [f"plain-{n}" for n in range(3)] + [f"async-{n}" for n in range(3)]:
        wait_until(partial(is_gone, project, instance), describe=f"{instance} to be written")
        assert len(project.diary("started", instance)) == 1, instance
        assert len(project.diary("ended", instance)) == 1, instance
    assert not worker.events("poller.died")


def schedule(project: Project, instance: str) -> bool:
    try:
        return project.client.schedule("run", instance)
    except Exception:
        return False


def is_gone(project: Project, instance: str) -> bool:
    return (
        project.client.get("sleep", instance) is None
        and project.client.get("sleep-async", instance) is None
    )
