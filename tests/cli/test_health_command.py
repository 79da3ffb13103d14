"""`pgsched health` beside a real worker, and where there is none."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.worker.running import Project, Worker
from tests.worker.scraping import port_of

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

Start = Callable[..., Worker]


@pytest.fixture
def project(tmp_path: Path, database: str) -> Generator[Project]:
    project = Project(tmp_path, database)
    with socket.create_server(("127.0.0.1", 0)) as free:
        project.monitoring = {"port": free.getsockname()[1], "host": "0.0.0.0"}
    yield project
    project.client.close()


def health(*arguments: str, wait_s: float = 20) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pgsched", "health", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=wait_s)


def test_it_tells_how_a_worker_fares(project: Project, start: Start) -> None:
    worker = start()
    config = ["--config", str(project.folder / "pgsched-0.yaml")]
    port_of(worker)
    assert (done := health("--live", *config)).returncode == 0, done
    assert done.stdout == "live\n"
    project.client.schedule("sleep", "s", 8)
    project.wait_entries("started", "s")
    worker.signal(signal.SIGTERM)
    worker.wait_event("worker.stopping")
    done = health("--url", f"http://127.0.0.1:{project.monitoring['port']}", "--json")
    assert done.returncode == 1
    assert not json.loads(done.stdout)["checks"]["draining"]["ok"]
    done = health("--ready", *config)
    assert done.returncode == 1
    assert done.stdout.startswith("not ready: ")
    assert "draining: told to stop" in done.stdout
    assert health("--live", *config).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--url", "http://127.0.0.1:9"], 75, "no worker answers at 127.0.0.1, port 9: "),
        (["--url", "ftp://127.0.0.1"], 2, "is not of the form http://HOST:PORT"),
        (["--url", "http://127.0.0.1:99999"], 2, "is not of the form http://HOST:PORT"),
        (["--live", "--ready"], 2, "it can't go with --live"),
        ([], 78, "monitoring.port: "),
    ],
)
def test_who_can_not_be_asked_is_told_in_one_line(
    arguments: list[str], status: int, told: str
) -> None:
    done = health(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1)
    assert told in done.stderr


def test_another_program_at_that_port_is_no_worker(tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        port = other.stdout.readline().split()[5]
        done = health("--url", f"http://127.0.0.1:{port}")
        other.terminate()
    assert done.returncode == 75
    assert "is no worker of pgsched's" in done.stderr
