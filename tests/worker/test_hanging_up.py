"""SIGHUP, and who means what by it: a reload, or the end of the terminal that the worker was started on."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.waiting import wait_until
from tests.worker.running import Project, Worker, is_there

Start = Callable[..., Worker]

TASKS = Path(__file__).with_name("versioned_tasks.py")


@pytest.fixture
def project(tmp_path: Path, database: str) -> Generator[Project]:
    """Its module takes as long to import as a test wants."""
    project = Project(tmp_path, database, tasks=TASKS, settings={"processes": 1})
    with (tmp_path / "tasks_of_tests.py").open("a") as module:
        module.write("\nwait_for_leave()\n")
    yield project
    project.client.close()


@pytest.fixture
def begin(project: Project) -> Generator[Callable[[], Worker]]:
    """Begins to start a worker, which imports until it is let."""
    begun: list[Worker] = []

    def begin_worker() -> Worker:
        begun.append(project.worker(number=0))
        wait_until((project.folder / "diary.waiting").exists, describe="the import")
        return begun[-1]

    yield begin_worker
    for worker in begun:
        for event in worker.events("worker.started"):
            if is_there(event["pid"]):
                os.kill(event["pid"], signal.SIGKILL)
        worker.kill_everything()


def on_terminal(project: Project, how: str) -> None:
    program = [sys.executable, "-m", "tests.worker.on_terminal", how, str(closed(project))]
    project.place = lambda _number, command: [*program, *command]


def closed(project: Project) -> Path:
    return project.folder / "closed"


def go(project: Project) -> None:
    (project.folder / "diary.go").touch()


def wait_process(project: Project) -> int:
    """The one that imports, by what it was started with."""
    config = str(project.folder / "pgsched-0.yaml").encode()

    def found() -> list[int]:
        return [
            int(process.name)
            for process in Path("/proc").iterdir()
            if process.name.isdigit() and is_worker(process, config)
        ]

    [pid] = wait_until(found, describe="the worker's process")
    return pid


def is_worker(process: Path, config: bytes) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return config in words and b"tests.worker.on_terminal" not in words


def test_a_reload_that_is_asked_for_too_early_follows_the_start(
    project: Project, begin: Callable[[], Worker]
) -> None:
    """It ended the worker."""
    worker = begin()
    worker.signal(signal.SIGHUP)
    go(project)
    worker.wait_event("worker.reloaded", timeout=30)
    assert worker.stop() == 0


def test_under_nohup_it_is_ignored_early_too(project: Project, begin: Callable[[], Worker]) -> None:
    project.place = lambda _number, command: ["nohup", *command]
    worker = begin()
    worker.signal(signal.SIGHUP)
    go(project)
    worker.wait_ready()
    worker.signal(signal.SIGHUP)
    assert worker.stop() == 0
    assert not worker.events("worker.reloaded")


def test_a_terminal_that_is_closed_early_ends_what_starts_on_it(
    project: Project, begin: Callable[[], Worker]
) -> None:
    on_terminal(project, "owned")
    begin()
    pid = wait_process(project)
    closed(project).touch()
    wait_until(lambda: not is_there(pid), describe="its end")


def test_a_terminal_that_is_closed_stops_its_worker(
    project: Project, begin: Callable[[], Worker]
) -> None:
    on_terminal(project, "owned")
    worker = begin()
    go(project)
    worker.wait_ready()
    closed(project).touch()
    worker.wait_event("worker.stopping", signal="SIGHUP")
    worker.wait_event("worker.stopped")


def test_a_worker_that_has_outlived_its_terminal_is_reloaded(
    project: Project, begin: Callable[[], Worker]
) -> None:
    """It was disowned: it took each SIGHUP for the end of that terminal, and stopped."""
    project.module = "tests.worker.impatient"
    on_terminal(project, "disowned")
    worker = begin()
    go(project)
    worker.wait_ready()
    [started] = worker.events("worker.started")
    closed(project).touch()
    over_at = time.monotonic() + 3  # several turns, of half a second here
    wait_until(lambda: time.monotonic() > over_at, describe="it to be seen that it is gone")
    os.kill(started["pid"], signal.SIGHUP)
    reloaded = worker.wait_event("worker.reloaded", timeout=30)
    os.kill(started["pid"], signal.SIGTERM)
    worker.wait_event("worker.stopped", pid=started["pid"])
    wait_until(lambda: not is_there(reloaded[0]["pid"]), describe="both generations to end")
