"""A real `pgsched worker` in a process group of its own, with a task module that writes down what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.worker.running import Project

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path, database: str) -> Generator[Project]:
    """A folder with a config, a task module, and the diary that its tasks keep."""
    project = Project(tmp_path, database)
    yield project
    project.client.close()
