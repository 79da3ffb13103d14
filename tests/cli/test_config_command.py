from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from pgsched.config import load_settings, settings_as_shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer, Command

TASKS = """
from pgsched import one_time

@one_time("send-email")
def send_email(): ...

@one_time("another")
def another(): ...
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "tasks_of_config_tests.py").write_text(TASKS)
    (tmp_path / "prod.yaml").write_text("tasks: {modules: [tasks_of_config_tests]}\n")
    return tmp_path


def test_check_imports_the_modules_from_the_files_folder(project: Path, command: Command) -> None:
    answer = command("config", "check", "--config", str(project / "prod.yaml"))
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        f"file     {project}/prod.yaml",
        "modules  tasks_of_config_tests",
        "tasks    2: another, send-email",
    ]


def test_a_configuration_is_found_by_its_variable_or_its_place(
    project: Path, command: Command
) -> None:
    assert command("config", "check", PGSCHED_CONFIG="prod.yaml").status == 0
    assert command("config", "check", "-c", "prod.yaml", PGSCHED_CONFIG="none.yaml").status == 0
    (project / "prod.yaml").rename(project / "pgsched.yaml")
    assert f"file     {project}/pgsched.yaml\n" in command("config", "check").out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "worker:\n  proceses: 3\n",
            "prod.yaml, line 2: worker.proceses: unknown key — did you mean",
        ),
        ("tasks:\n  modules: [none_such]\n", "task module 'none_such': not found"),
        ("worker: {}\n", "tasks.modules: no task module is named"),
        ("worker:\n\tid: a\n", "prod.yaml, line 2: not YAML: a tab can't indent"),
    ],
)
def test_what_is_wrong_exits_78_in_one_line(
    content: str, message: str, tmp_path: Path, usage: Callable[..., Answer]
) -> None:
    (tmp_path / "prod.yaml").write_text(content)
    answer = usage("config", "check", "--config", "prod.yaml")
    assert (answer.status, answer.out) == (78, "")
    assert answer.err.startswith(f"pgsched: {message}")
    assert answer.err.count("\n") == 1


def test_every_problem_has_its_line(tmp_path: Path, usage: Callable[..., Answer]) -> None:
    (tmp_path / "pgsched.yaml").write_text("worker:\n  processes: 0\n  batch_size: 0\n")
    lines = usage("list").err.splitlines()
    assert [line.split(": ")[:3] for line in lines] == [
        ["pgsched", "pgsched.yaml, line 2", "worker.processes"],
        ["pgsched", "pgsched.yaml, line 3", "worker.batch_size"],
    ]


def test_show_prints_what_is_in_force_with_secrets_masked(
    tmp_path: Path, usage: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pgsched.yaml"
    file.write_text("worker: {processes: 3}\n")
    monkeypatch.setenv("PGSCHED_WORKER__BATCH_SIZE", "7")
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:s3cret@db/app")
    answer = usage("config", "show")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith(f"# from {file}, DATABASE_URL, PGSCHED_WORKER__BATCH_SIZE\n")
    assert "s3cret" not in answer.out
    shown = yaml.safe_load(answer.out)
    assert shown == settings_as_shown(load_settings(file))
    assert shown["database"]["dsn"] == "postgresql://app:***@db/app"
    assert (shown["worker"]["processes"], shown["worker"]["batch_size"]) == (3, 7)
