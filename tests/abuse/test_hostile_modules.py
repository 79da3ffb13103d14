"""Task modules that do at import what tasks do at run time, and logs that nobody can write."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import wait_until
from tests.worker.running import is_there

TASK = "\nfrom pgsched import one_time\n@one_time('a')\ndef a(): ...\n"


def check(folder: Path, module: str) -> subprocess.Popen[str]:
    """`pgsched config check` of a module, going on."""
    (folder / "hostile_module.py").write_text(module + TASK)
    config = folder / "pgsched.yaml"
    config.write_text("tasks: {modules: [hostile_module]}")
    return subprocess.Popen(
        [sys.executable, "-m", "pgsched", "config", "check", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("class Own(BaseException): ...\nraise Own('mine')", "Own: mine"),
        ("import asyncio; raise asyncio.CancelledError", "CancelledError"),
        ("raise ValueError('x' * 100_000_000)", "ValueError: xxx"),
        ("raise ValueError('\\x1b[31m\\0\\ud800')", "ValueError: \\x1b[31m"),
        ("class E(Exception):\n def __str__(self): raise SystemExit\nraise E", "can't be shown"),
    ],
)
def test_an_import_that_raises_anything_is_one_short_line(
    module: str, told: str, tmp_path: Path
) -> None:
    """Neither an Exception nor SystemExit, it went through with a trace."""
    out, err = (checking := check(tmp_path, module)).communicate(timeout=30)
    assert (checking.returncode, out) == (78, "")
    assert err.startswith("pgsched: task module 'hostile_module': its import failed: ")
    assert told in err
    assert err.count("\n") == 1
    assert len(err) < 2500


def test_an_import_that_forks_makes_no_second_program(tmp_path: Path) -> None:
    out, err = (checking := check(tmp_path, "import os\nos.fork()")).communicate(timeout=30)
    assert checking.returncode == 0
    assert out.count("tasks ") == 1
    assert "its import forked, and this is the child" in err


def test_a_thread_that_an_import_starts_keeps_no_command_from_ending(tmp_path: Path) -> None:
    """Python waits for it: the command, and a worker after its shutdown, hung for as long as it lived."""
    module = "import threading\nthreading.Thread(target=threading.Event().wait).start()"
    out, err = (checking := check(tmp_path, module)).communicate(timeout=30)
    assert (checking.returncode, err) == (0, "")
    assert "tasks    1: a" in out


def test_sigterm_during_an_import_is_no_error_of_the_module(tmp_path: Path) -> None:
    """Raised as SystemExit, it was taken for one of the module's: exit 78, which services do not try again."""
    up = tmp_path / "up"
    checking = check(
        tmp_path, f"import pathlib, time\npathlib.Path({str(up)!r}).touch()\ntime.sleep(60)"
    )
    wait_until(up.exists, describe="the import to begin")
    checking.send_signal(signal.SIGTERM)
    assert checking.communicate(timeout=30) == ("", "")
    assert checking.returncode == 143


@pytest.mark.parametrize("log", ["json", "console"])
def test_a_worker_lives_on_when_its_log_can_not_be_written(
    log: str, tmp_path: Path, database: str
) -> None:
    """A full disk: an OSError of the first line ended the supervisor."""
    done = tmp_path / "done"
    (tmp_path / "full_disk.py").write_text(
        "import pathlib\nfrom pgsched import Every, recurring\n"
        "@recurring('touch', schedule=Every(hours=1))\n"
        f"def touch(): print('to nobody'); pathlib.Path({str(done)!r}).touch()\n"
    )
    config = tmp_path / "pgsched.yaml"
    settings = {
        "database": {"dsn": database},
        "tasks": {"modules": ["full_disk"]},
        "logging": {"format": log},
    }
    config.write_text(json.dumps(settings))
    with Path("/dev/full").open("w") as full:
        worker = subprocess.Popen(
            [sys.executable, "-m", "pgsched", "worker", "--config", str(config)], stderr=full
        )
    wait_until(done.exists, describe="the task to run")
    assert is_there(worker.pid)
    worker.terminate()
    assert worker.wait(timeout=30) == 0


LOGGING = """
import logging, sys
from pgsched.log import Event, Logger, configure_logging
configure_logging(json=sys.argv[1] == "json", level="info")
evil = "\\x1b]0;owned\\x07\\x9b31m\\u202e\\nforged line \\ud800"
Logger().error(Event.EXECUTION_FAILED, instance=evil, exception="Traceback:\\n  " + evil)
password = "s3cret"
try:
    raise ValueError(evil)
except ValueError:
    logging.getLogger("app").exception("of the user's %s", evil)
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_name_or_error_moves_the_terminal_that_shows_a_log(form: str) -> None:
    """Tracebacks and messages went to the console raw; pretty tracebacks showed what variables hold, too."""
    done = subprocess.run(
        [sys.executable, "-c", LOGGING, form],
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    said = done.stderr
    assert {character for character in said if not character.isprintable()} == {"\n"}
    assert "s3cret'" not in said.replace('password = "s3cret"', "")
    lines = said.splitlines()
    assert "execution.failed" in lines[0]
    if form == "json":
        first, second = map(json.loads, lines)
        assert first["instance"].startswith("\x1b]0;owned\x07\x9b31m\u202e\n")
        assert second["event"].startswith("of the user's \x1b")
