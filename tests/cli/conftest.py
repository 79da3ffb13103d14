"""The command as users run it: a process of its own; and in this process for what ends before any database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pgsched.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

TIMEOUT_S = 30


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Command:
    """`pgsched` in a folder of its own, with no variables but those given."""

    folder: Path
    environment: Mapping[str, str]

    def __call__(
        self, *arguments: str | bytes, given: str | None = None, **variables: str
    ) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "pgsched", *arguments],
            cwd=self.folder,
            env={**self.environment, **variables},
            input=given,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            encoding="utf-8",
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, **streams: Any) -> subprocess.Popen[str]:
        """The same, going on beside the test."""
        return subprocess.Popen(
            [sys.executable, "-m", "pgsched", *arguments],
            cwd=self.folder,
            env=self.environment,
            encoding="utf-8",
            **streams,
        )


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """`pgsched` without a database."""
    return Command(tmp_path, environment_without_settings())


@pytest.fixture
def on_database(tmp_path: Path, database: str) -> Command:
    """`pgsched` on a migrated database."""
    return Command(tmp_path, {**environment_without_settings(), "DATABASE_URL": database})


def environment_without_settings() -> dict[str, str]:
    return {
        name: text
        for name, text in os.environ.items()
        if name != "DATABASE_URL" and not name.startswith("PGSCHED_")
    }


@pytest.fixture
def usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Generator[Callable[..., Answer]]:
    """`pgsched` through its entry point in this process: for what ends before it needs a database."""
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)

    def run(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["pgsched", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        return Answer(int(ended.value.code or 0), said.out, said.err)

    yield run
    signal.signal(signal.SIGTERM, handler)
