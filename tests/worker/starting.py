"""Starts workers for whatever `project` a folder of tests has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.worker.running import Project, Worker


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
