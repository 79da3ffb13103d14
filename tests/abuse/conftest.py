"""A worker with the worst tasks there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.worker.running import Project

if TYPE_CHECKING:
    from collections.abc import Generator

HOSTILE = Path(__file__).with_name("hostile_tasks.py")
SETTINGS = {"processes": 1, "max_crashes": 1}


@pytest.fixture
def project(tmp_path: Path, database: str) -> Generator[Project]:
    """A folder with a config, the hostile task module, and the diary that its tasks keep."""
    project = Project(tmp_path, database, tasks=HOSTILE, settings=SETTINGS)
    yield project
    project.client.close()
