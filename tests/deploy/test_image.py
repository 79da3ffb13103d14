"""What the Dockerfile says: nothing unpinned gets in, and its health check tells a live worker from none."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.deploy.shipped import ROOT
from tests.worker.running import Project

if TYPE_CHECKING:
    from pathlib import Path

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
LAST_STAGE = DOCKERFILE.rpartition("\nFROM ")[2]


def test_whatever_pip_fetches_is_locked() -> None:
    """But for what builds the wheel, which doesn't get into the image."""
    commands = re.findall(r"pip install (.*)$", DOCKERFILE.partition("\nFROM ")[2], re.MULTILINE)
    assert commands == [
        "--require-hashes --only-binary :all: --requirement requirements.txt",
        "--no-deps .",
    ]


def test_the_health_check_tells_a_live_worker_from_none(database: str, tmp_path: Path) -> None:
    """With the variables of the image, but for the port, which others may have here."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert "PGSCHED_MONITORING__PORT=9187" in LAST_STAGE
    check = re.search(r"^HEALTHCHECK .*--timeout=(\d+)s .*CMD (\[.*\])$", LAST_STAGE, re.MULTILINE)
    assert check
    program, *arguments = json.loads(check[2])
    assert program == "pgsched"
    project = Project(tmp_path, database)
    project.monitoring = {"port": port}

    def status() -> int:
        return subprocess.run(
            [sys.executable, "-m", "pgsched", *arguments],
            env={**os.environ, "PGSCHED_CONFIG": str(tmp_path / "pgsched-0.yaml")},
            capture_output=True,
            check=False,
            timeout=int(check[1]) * 4,  # a machine that is busy with other tests
        ).returncode

    with project.client:
        worker = project.worker(number=0)
        try:
            worker.wait_event("reporter.started")
            assert status() == 0
        finally:
            worker.kill_everything()
        assert status() != 0
