"""A real worker with no more rights than its pod has. What can't be had without a container: its seccomp profile."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.deploy.test_kubernetes import WORKER
from tests.waiting import wait_until
from tests.worker.running import Project
from tests.worker.scraping import ask

if TYPE_CHECKING:
    from collections.abc import Generator

TASKS = """
import tempfile
from pgsched import one_time

def work():
    tempfile.TemporaryFile().close()
    try:
        open(__file__, "a")
    except OSError:
        return
    raise AssertionError("this is no read-only file system")

in_thread = one_time("in-thread")(work)
in_process = one_time("in-process", isolation="process")(work)
"""

USER = WORKER["spec"]["template"]["spec"]["securityContext"]["runAsUser"]

CONFINED = f"""
mount --make-rprivate / && mount -t tmpfs -o mode=1777 tmpfs "$0" && mount -o remount,bind,ro / || exit 99
exec env --unset=HOME TMPDIR="$0" setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs \
  --bounding-set=-all,+dac_read_search --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search "$@"
"""
"""One capability is left, to read: Python and the checkout may lie beneath a folder that is root's alone."""


@pytest.fixture
def folder() -> Generator[Path]:
    """One that others may read: pytest's own may not be."""
    with tempfile.TemporaryDirectory(prefix="pgsched-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def confined(folder: Path) -> list[str]:
    """What comes before a command that is to run like that. Its only folder to write to is one for temporary files."""
    empty = folder / "empty"
    empty.mkdir()
    command = ["unshare", "--mount", "sh", "-c", CONFINED, str(empty)]
    if os.geteuid() or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("only root can take a process's rights like that, where it may mount")
    return command


@pytest.fixture
def project(database: str, folder: Path, confined: list[str]) -> Generator[Project]:
    tasks = folder / "tasks.txt"
    tasks.write_text(TASKS)
    project = Project(folder, database, tasks=tasks)
    project.monitoring = {"port": 0}
    project.place = lambda _number, command: [*confined, *command]
    with project.client:
        yield project


def test_a_worker_needs_no_more_rights_than_its_pod_has(project: Project) -> None:
    """Without the empty folder for temporary files neither task is done."""
    worker = project.worker(number=0)
    try:
        worker.wait_ready()
        for task in ("in-thread", "in-process"):
            project.client.schedule(task, task)
            project.wait_gone(task)
        assert ask(worker, "/livez").status == 200
        wait_until(lambda: ask(worker, "/readyz").status == 200, describe="the worker to be ready")
        assert worker.stop() == 0
    finally:
        worker.kill_everything()
