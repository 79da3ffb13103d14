"""A worker with the worst tasks there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.worker.running import Project, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

HOSTILE = Path(__file__).with_name("hostile_tasks.py")


@pytest.fixture
def project(tmp_path: Path, database: str) -> Generator[Project]:
    """A folder with a config, the hostile task module, and the diary that its tasks keep."""
    project = Project(tmp_path, database, tasks=HOSTILE)
    yield project
    project.client.close()


@pytest.fixture
def start(project: Project) -> Generator[Callable[..., Worker]]:
    """Starts a worker with one poller, unless told otherwise."""
    workers: list[Worker] = []

    def start_worker(**options: object) -> Worker:
        worker = project.worker(
            number=len(workers), **{"processes": 1, "max_crashes": 1, **options}
        )
        workers.append(worker)
        worker.wait_ready()
        return worker

    yield start_worker
    for worker in workers:
        worker.kill_everything()
