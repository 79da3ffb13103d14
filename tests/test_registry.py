"""Importing task modules: what is found, and what is wrong in one line."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, TypeAlias

import pytest

from pgsched.errors import ConfigError, TaskModuleError
from pgsched.registry import load_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

_numbers = itertools.count()

A_TASK = "from pgsched import one_time\n@one_time('{name}')\ndef task(): ...\n"


@pytest.fixture
def module(tmp_path: Path) -> Generator[Callable[[str], str]]:
    """Writes a module into the project's folder and answers its name."""
    path, modules = list(sys.path), set(sys.modules)

    def write(text: str) -> str:
        name = f"tasks_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield write
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


Write: TypeAlias = "Callable[[str], str]"


def test_the_tasks_of_the_named_modules_are_found_by_name(module: Write, tmp_path: Path) -> None:
    names = [module(A_TASK.format(name=name)) for name in ("one", "two")]
    assert sorted(load_tasks(names, tmp_path)) == ["one", "two"]


def test_a_module_may_lie_in_a_package(module: Write, tmp_path: Path) -> None:
    package = tmp_path / "package_of_tasks"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "tasks.py").write_text(A_TASK.format(name="inside"))
    assert list(load_tasks(["package_of_tasks.tasks"], tmp_path)) == ["inside"]


def test_one_task_imported_twice_is_one_task(module: Write, tmp_path: Path) -> None:
    first = module(A_TASK.format(name="one"))
    second = module(f"from {first} import task")
    assert list(load_tasks([first, second], tmp_path)) == ["one"]


def test_two_tasks_of_one_name_are_refused_with_both_places(module: Write, tmp_path: Path) -> None:
    first, second = (module(A_TASK.format(name="one")) for _ in range(2))
    with pytest.raises(TaskModuleError, match=f"'one': {first}.task and {second}.task"):
        load_tasks([first, second], tmp_path)


def test_two_tasks_of_one_name_in_one_module_are_refused(module: Write, tmp_path: Path) -> None:
    text = A_TASK.format(name="one")
    name = module(text + text.replace("def task", "def other"))
    with pytest.raises(TaskModuleError, match="two tasks are called 'one'"):
        load_tasks([name], tmp_path)


def test_a_module_that_is_not_there_is_not_found(tmp_path: Path, module: Write) -> None:
    for name in ("no_such_module", "no_such_package.tasks", "json.no_such_module"):
        with pytest.raises(TaskModuleError, match=f"'{name}': not found"):
            load_tasks([name], tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import no_such_library", "No module named 'no_such_library'"),
        ("def broken(:\n", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit('stop')", "SystemExit: stop"),
        ("from pgsched import *\nCron('61 * * * *')", "cron expression '61"),
        ("from pgsched import one_time\n@one_time('t')\ndef t(a, b, c): ...", "takes .a, b, c."),
        ("from pgsched import one_time\none_time('')(print)", "the task name is empty"),
    ],
)
def test_a_module_whose_import_fails_says_why_and_where_in_one_line(
    module: Write, tmp_path: Path, text: str, told: str
) -> None:
    name = module(text)
    with pytest.raises(TaskModuleError, match=told) as refused:
        load_tasks([name], tmp_path)
    assert "its import failed" in str(refused.value)
    assert f"{name}.py, line" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_annotation_that_means_nothing_is_refused_at_start(
    module: Write, tmp_path: Path
) -> None:
    name = module(
        "from __future__ import annotations\nfrom pgsched import one_time\n@one_time('t')\ndef t(data: Nobody): ..."
    )
    with pytest.raises(TaskModuleError, match="'Nobody' of 'data' can't be resolved"):
        load_tasks([name], tmp_path)


def test_a_type_that_pydantic_can_not_check_is_refused_at_start(
    module: Write, tmp_path: Path
) -> None:
    name = module("from pgsched import one_time\nclass C: ...\n@one_time('t')\ndef t(data: C): ...")
    with pytest.raises(TaskModuleError) as refused:
        load_tasks([name], tmp_path)
    assert "\n" not in str(refused.value)


def test_nothing_to_run_is_an_error(module: Write, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tasks\.modules"):
        load_tasks([], tmp_path)
    with pytest.raises(ConfigError, match=r"tasks\.modules"):
        load_tasks([module("")], tmp_path)
