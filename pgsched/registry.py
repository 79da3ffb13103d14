"""Imports the task modules that the configuration names and finds the tasks in them.

The only room that imports users' code. Registers nothing globally: tasks are what the named modules hold.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from pgsched.domain.outcome import error_line
from pgsched.domain.task import AnyTask, Task, caller_of
from pgsched.errors import ConfigError, TaskModuleError, Terminated

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType


OURS = str(Path(__file__).parent)


def load_tasks(modules: Sequence[str], folder: Path) -> dict[str, AnyTask]:
    """The tasks of these modules by name; `folder` is made importable.

    Raises: ConfigError where nothing is named or found; TaskModuleError where a module can't be imported, two
    tasks share a name, or a task's data annotation can't be resolved.
    """
    if not modules:
        raise ConfigError(
            "no task module is named", key="tasks.modules", allowed="a list of import paths"
        )
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    tasks: dict[str, AnyTask] = {}
    origin: dict[str, str] = {}
    for name in modules:
        for attribute, task in _tasks_of(_imported(name)).items():
            known = tasks.setdefault(task.name, task)
            if known is not task:
                raise TaskModuleError(
                    name,
                    f"two tasks are called {task.name!r}: {origin[task.name]} and {name}.{attribute}",
                )
            origin.setdefault(task.name, f"{name}.{attribute}")
            _check_callable(name, task)
    if not tasks:
        raise ConfigError(
            f"no tasks in {', '.join(modules)}",
            key="tasks.modules",
            allowed="modules with @one_time or @recurring",
        )
    return tasks


def _imported(name: str) -> ModuleType:
    pid = os.getpid()
    try:
        module = importlib.import_module(name)
    except (KeyboardInterrupt, Terminated):
        raise  # meant for us, not for the module
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise TaskModuleError(name, f"not found on {', '.join(sys.path[:3])}, …") from None
        raise TaskModuleError(
            name, f"its import failed: {_one_line(error)}{_place(error)}"
        ) from error
    except BaseException as error:
        raise TaskModuleError(
            name, f"its import failed: {error_line(error)}{_place(error)}"
        ) from error
    if os.getpid() != pid:
        raise TaskModuleError(
            name, "its import forked, and this is the child: it must not be a second worker"
        )
    return module


def _tasks_of(module: ModuleType) -> dict[str, AnyTask]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Task)}


def _check_callable(module: str, task: AnyTask) -> None:
    try:
        caller_of(task)
    except Exception as error:  # pydantic refuses annotations in ways of its own
        raise TaskModuleError(module, _one_line(error)) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _place(error: BaseException) -> str:
    """Where in the user's code an import failed: the innermost frame that isn't ours, generated, or importlib's."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename and not frame.filename.startswith((OURS, "<"))
    ]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
