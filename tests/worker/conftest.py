"""A real `pgsched worker` in a process group of its own, with a task module that writes down what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.worker.running import Project, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path, database: str) -> Generator[Project]:
    """A folder with a config, a task module, and the diary that its tasks keep."""
    project = Project(tmp_path, database)
    yield project
    project.client.close()


@pytest.fixture
def start(project: Project) -> Generator[Callable[..., Worker]]:
    """Starts workers of the project; whatever is left of them at the end is killed."""
    workers: list[Worker] = []

    def start_worker(**options: object) -> Worker:
        worker = project.worker(number=len(workers), **options)
        workers.append(worker)
        worker.wait_ready()
        return worker

    yield start_worker
    for worker in workers:
        worker.kill_everything()
