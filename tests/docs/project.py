"""Runs what a page of the documentation shows, in its order, in a project folder and a database of its own."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psycopg

from tests.docs.pages import commands, normal, pattern

if TYPE_CHECKING:
    from tests.docs.pages import Fence

STAND_IN_DSN = "postgresql://app@db/app"
"""Where a page needs to show a DSN, it shows this one; what runs gets the page's own database."""

COMMAND_TIMEOUT_S = 30
WORKER_START_TIMEOUT_S = 20

QUIET_S = 0.7
PATIENCE_S = 8.0
"""A worker is done when it has been quiet for a moment and nothing is due soon. What it has no task for stays due for
ever: that is not waited for beyond the patience."""

_SOMETHING_SOON = """
select exists (select from scheduled_tasks where picked or execution_time < now() + interval '5 s')
"""

_PYTHON = """
import ast, asyncio, inspect, json, sys
namespace = {"__name__": "__main__"}
with asyncio.Runner() as runner:
    for line in sys.stdin:
        code = compile(json.loads(line), "<snippet>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        answer = eval(code, namespace)
        if inspect.iscoroutine(answer):
            runner.run(answer)
        print("\\0", flush=True)
"""


class Project:
    """The folder, database and Python session of one page."""

    def __init__(self, folder: Path, conninfo: str) -> None:
        self._folder = folder
        self._conninfo = conninfo
        self._unchecked: list[str] = []
        scripts = str(Path(sys.executable).parent)
        self._environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("PGSCHED_")},
            "DATABASE_URL": conninfo,
            "PATH": os.pathsep.join([scripts, os.environ["PATH"]]),
            "COLUMNS": "120",
            "PYTHONUNBUFFERED": "1",
        }
        self._python = subprocess.Popen(
            [sys.executable, "-c", _PYTHON],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=self._environment,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._python.kill()
        self._python.communicate()

    def play(self, fence: Fence) -> None:
        """Do what one fence asks for. Raises: AssertionError."""
        if fence.file:
            self._write(fence.file, fence.text.replace(STAND_IN_DSN, self._conninfo))
            return
        self.check_files()
        match fence.language:
            case "python":
                self._run_python(fence.text.replace(STAND_IN_DSN, self._conninfo))
            case "sql":
                with psycopg.connect(self._conninfo) as connection:
                    connection.execute(fence.text.encode())
            case "console":
                self._run_console(fence)

    def check_files(self) -> None:
        """Check what has been written: only now, since a config may come before the modules it names."""
        unchecked, self._unchecked = self._unchecked, []
        for file in unchecked:
            path = Path(file)
            if path.suffix == ".yaml":
                self._expect(f"pgsched config check --config {file}", 0)
            elif path.suffix == ".py":
                self._expect(f"python -c 'import {'.'.join(path.with_suffix('').parts)}'", 0)

    def _write(self, file: str, text: str) -> None:
        path = self._folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self._unchecked.append(file)

    def _run_python(self, text: str) -> None:
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        self._python.stdin.write(json.dumps(text) + "\n")
        self._python.stdin.flush()
        printed = []
        for line in self._python.stdout:
            if line.endswith("\0\n"):
                return
            printed.append(line)
        raise AssertionError("".join(printed))

    def _run_console(self, fence: Fence) -> None:
        wanted = next((int(word[5:]) for word in fence.words if word.startswith("exit=")), 0)
        *before, last = commands(fence)
        for command, status in [*((command, 0) for command in before), (last, wanted)]:
            if command.line.startswith("pip "):
                continue
            line, has_end, _ = command.line.partition("# Ctrl-C")
            line = line.replace(STAND_IN_DSN, shlex.quote(self._conninfo))
            output = self._until_quiet(line) if has_end else self._expect(line, status)
            assert not command.shown.strip() or pattern(command.shown).fullmatch(normal(output)), (
                f"$ {command.line}\nshown:\n{normal(command.shown)}\nprinted:\n{normal(output)}"
            )

    def _expect(self, line: str, status: int) -> str:
        done = subprocess.run(
            ["sh", "-c", line],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._folder,
            env=self._environment,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
            text=True,
        )
        assert done.returncode == status, f"$ {line}\n{done.stdout}\nexit status {done.returncode}"
        return done.stdout

    def _until_quiet(self, line: str) -> str:
        """Run a worker, press Ctrl-C when it has nothing left to do, and answer what it wrote."""
        log = self._folder / ".worker.log"
        with log.open("w") as written:
            worker = subprocess.Popen(
                ["sh", "-c", f"exec {line}"],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                cwd=self._folder,
                env=self._environment,
                start_new_session=True,
            )
        try:
            self._wait_until_quiet(log, worker)
            os.killpg(worker.pid, signal.SIGINT)
            status = worker.wait(COMMAND_TIMEOUT_S)
        finally:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()
        output = log.read_text()
        assert status == 0, f"$ {line}\n{output}\nexit status {status}"
        return output

    def _wait_until_quiet(self, log: Path, worker: subprocess.Popen[bytes]) -> None:
        started_at = time.monotonic()
        size, quiet_since = 0, started_at
        while True:
            now = time.monotonic()
            assert worker.poll() is None, f"the worker ended:\n{log.read_text()}"
            assert now - started_at < WORKER_START_TIMEOUT_S, f"it is not done:\n{log.read_text()}"
            if log.stat().st_size != size:
                size, quiet_since = log.stat().st_size, now
            elif (
                now - quiet_since > QUIET_S
                and b"poller.started" in log.read_bytes()
                and (now - started_at > PATIENCE_S or not self._is_something_due_soon())
            ):
                return
            time.sleep(0.1)

    def _is_something_due_soon(self) -> bool:
        """In the table of the default name; a page that uses another is waited for while it writes."""
        with psycopg.connect(self._conninfo) as connection:
            try:
                return bool(connection.execute(_SOMETHING_SOON).fetchone() == (True,))
            except psycopg.errors.UndefinedTable:
                return False
