from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pgsched.client import Client
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer, Command

TASKS = """
from pathlib import Path
from pgsched import one_time

@one_time("write")
def write(data):
    Path(data["file"]).write_text("done")

@one_time("say")
def say(data):
    print(data["text"])
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "tasks_of_worker_tests.py").write_text(TASKS)
    (tmp_path / "pgsched.yaml").write_text(
        "tasks: {modules: [tasks_of_worker_tests]}\nworker: {processes: 3}\nlogging: {format: json}\n"
    )
    return tmp_path


def events(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]


def test_a_worker_runs_what_is_due_and_drains_on_ctrl_c(
    project: Path, on_database: Command, database: str
) -> None:
    with Client(database) as client:
        client.schedule("write", "1", {"file": str(project / "written")})
    log = project / "log"
    with log.open("w") as stderr:
        running = on_database.start("worker", "--processes", "1", stderr=stderr)
    try:
        wait_until(
            lambda: any(event["event"] == "execution.completed" for event in events(log)),
            describe="the execution",
        )
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=20) == 0
    finally:
        running.kill()
        running.wait()
    assert (project / "written").read_text() == "done"
    started = [event for event in events(log) if event["event"] == "poller.started"]
    assert len(started) == 1


def test_what_a_task_prints_can_be_read_while_the_worker_runs(
    project: Path, on_database: Command, database: str
) -> None:
    """As journalctl does, through no terminal. Proven by leaving stdout as Python makes it: nothing for 8 KiB."""
    environment = {**on_database.environment, "PYTHONUNBUFFERED": ""}
    on_database = replace(on_database, environment=environment)
    with Client(database) as client:
        client.schedule("say", "1", {"text": "to whom it may concern"})
    printed = project / "printed"
    with printed.open("w") as stdout, (project / "log").open("w") as stderr:
        running = on_database.start("worker", stdout=stdout, stderr=stderr)
    try:
        wait_until(
            lambda: printed.read_text() == "to whom it may concern\n", describe="what it prints"
        )
    finally:
        running.kill()
        running.wait()


def test_dev_brings_its_own_database_up_to_date(
    project: Path, command: Command, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("postgres")
    folder.chmod(0o755)
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    log = project / "log"
    with log.open("w") as stderr:
        running = subprocess.Popen(
            [sys.executable, "-m", "pgsched", "dev"],
            cwd=project,
            env={**command.environment, **home},
            stderr=stderr,
        )
    try:
        wait_until(
            lambda: any(event["event"] == "poller.started" for event in events(log)),
            timeout=60,
            describe="a poller",
        )
        listed = command("list", "--dsn", "embedded", **home)
        assert (listed.status, listed.err) == (0, "pgsched: no executions\n")
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=20) == 0
    finally:
        running.kill()
        running.wait()
    assert events(log)[0]["event"] == "embedded.not_for_production"


@pytest.mark.parametrize("name", ["worker", "dev"])
def test_wrong_modules_end_it_before_it_looks_for_a_database(
    name: str, tmp_path: Path, usage: Callable[..., Answer]
) -> None:
    (tmp_path / "pgsched.yaml").write_text("tasks: {modules: [none_such]}\n")
    answer = usage(name, "--dsn", "host=/nowhere")
    assert (answer.status, answer.out) == (78, "")
    assert answer.err.startswith("pgsched: task module 'none_such': not found")


def test_a_worker_on_an_old_schema_exits_75(
    project: Path, command: Command, empty_database: str
) -> None:
    answer = command("worker", "--dsn", empty_database)
    assert answer.status == 75
    assert answer.err.splitlines()[-1].endswith("run `pgsched migrate`")
    assert "Traceback" not in answer.err
