"""The examples do what they say, and leave nothing running."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.waiting import wait_until
from tests.worker.running import Worker

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
PAGE = ROOT / "docs/how-to/example-shop.md"
SCRIPTS = Path(sys.executable).parent

DEMO_LIMIT_S = 90

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "PYTHONUNBUFFERED": "1",
    "PATH": os.pathsep.join([str(SCRIPTS), os.environ["PATH"]]),
}


@dataclass(frozen=True)
class Demo:
    """A run of the shop that has ended."""

    folder: Path
    status: int
    output: str


@pytest.fixture(scope="module")
def demo() -> Generator[Demo]:
    """One run, in a folder that the embedded server's account can reach."""
    with a_folder() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "examples.shop"],
            cwd=folder,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DEMO_LIMIT_S,
            check=False,
            text=True,
        )
        yield Demo(folder, done.returncode, done.stdout)


@contextmanager
def a_folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="pgsched-demo-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def processes_in(folder: Path) -> list[str]:
    """What runs with its working directory below a folder: the demo, its worker, their Postgres."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it ended meanwhile, or is a zombie
            continue
    return found


def assert_nothing_runs_in(folder: Path) -> None:
    wait_until(
        lambda: not processes_in(folder), timeout=5, describe=f"the end of {processes_in(folder)}"
    )


@pytest.mark.parametrize(
    "line",
    [
        r"12 orders placed, 10 by card",
        r"5,000 rows of .demo/catalogue.csv scheduled in one transaction",
        r"charge-card order-\d+ +started \d+ ms late, succeeded in \d+ ms",
        r"charge-card order-\d+ +run 1 failed: GatewayBusy: .*; retried in 0.3 s",
        r"charge-card order-9 +run 5 failed: GatewayBusy: .*; given up",
        r"charge-card order-6 +run 1 failed: CardDeclined: .*; given up",
        r"import-row NT-0666 +run 1 failed: InvalidData: .*price.*; given up",
        r"send-confirmation order-1 +started",
        r"poller \d +process \d+ died of SIGKILL",
        r"(import-row NT-\d+ +was held by the dead poller|picked and not begun): due again",
        r"The killed poller held [1-9]\d* executions",
        # at one run of it, or at two
        r"expire-unpaid-orders +orders \[(3|11|3, 11)\] have not been paid in time",
        r"mails arrived, one an order +8  ok",
        r"rows of the catalogue imported +4,998  ok",
        r"failed executions, kept +4  ok",
        r"charge-card +order-9 +failed .*GatewayBusy",
        r"All is well, after \d+ s",
    ],
)
def test_the_demo_shows(line: str, demo: Demo) -> None:
    assert re.search(line, demo.output), demo.output


def test_the_demo_ends_well_and_leaves_nothing_running(demo: Demo) -> None:
    assert demo.status == 0, demo.output
    assert_nothing_runs_in(demo.folder)


def test_what_the_demo_says_to_try_next_works(demo: Demo) -> None:
    text = demo.output.partition("What to try next")[2]
    config = re.search(r"PGSCHED_CONFIG=(\S+)", text)
    assert config
    environment = {**ENVIRONMENT, "PGSCHED_CONFIG": config[1]}
    lines = [line.split("  #")[0] for line in text.splitlines() if line.startswith("  ")]
    commands = [shlex.split(line) for line in lines]
    for command in commands:
        if command[0] in {"pgsched", "cat"} and command != ["pgsched", "dev"]:
            subprocess.run(
                command, cwd=demo.folder, env=environment, check=True, stdout=subprocess.DEVNULL
            )
    [services] = [command[:-1] for command in commands if command[-1] == "&"]
    outside = subprocess.Popen(services, cwd=demo.folder, env=environment)
    worker = subprocess.Popen(
        ["pgsched", "dev"], cwd=demo.folder, env=environment, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(
            (demo.folder / ".demo/mails/order-6@shop.example.eml").exists,
            describe="the mail of the order whose card was changed",
        )
    finally:
        for process in (worker, outside):
            process.send_signal(signal.SIGINT)
        statuses = [process.wait(timeout=20) for process in (worker, outside)]
    assert statuses == [0, 0]
    assert_nothing_runs_in(demo.folder)


@pytest.mark.parametrize("victim", ["demo", "worker"])
def test_a_demo_that_is_ended_early_leaves_nothing_running(victim: str) -> None:
    with a_folder() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "examples.shop"],
            cwd=folder,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        supervisor = 0
        for line in process.stdout:
            if found := re.search(r"process (\d+) supervises", line):
                supervisor = int(found[1])
            if "import-row has succeeded" in line:
                break
        if victim == "demo":
            process.send_signal(signal.SIGINT)
        else:
            os.kill(supervisor, signal.SIGKILL)
        said, _ = process.communicate(timeout=30)
        if victim == "demo":
            assert (process.returncode, "Interrupted" in said) == (130, True), said
        else:
            assert (process.returncode, "exit status -9" in said) == (1, True), said
        assert_nothing_runs_in(folder)


def test_hello_runs(database: str, tmp_path: Path) -> None:
    text = (EXAMPLES / "hello.py").read_text()
    (tmp_path / "hello.py").write_text(text)
    config = tmp_path / "pgsched.yaml"
    config.write_text(json.dumps({"database": {"dsn": database}, "tasks": {"modules": ["hello"]}}))
    [command] = re.findall(r"^pgsched schedule .*$", text, re.MULTILINE)
    worker = Worker(
        [sys.executable, "-m", "pgsched", "worker", "--config", str(config)], ENVIRONMENT
    )
    try:
        worker.wait_ready()
        subprocess.run(
            [*shlex.split(command), "--config", str(config)], env=ENVIRONMENT, check=True
        )
        worker.wait_event("hello", name="Ada")
        worker.wait_event("execution.completed", task="tick")
        assert worker.stop() == 0
    finally:
        worker.kill_everything()


def test_transactional_shows_both_or_neither(database: str) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "transactional.py"],
        env={**ENVIRONMENT, "DATABASE_URL": database},
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.splitlines() == [
        "rolled back: 0 order(s), 0 execution(s)",
        "committed:   1 order(s), 1 execution(s)",
    ]


def test_what_the_page_quotes_is_in_the_shop() -> None:
    sources = [source.read_text() for source in (EXAMPLES / "shop").glob("*.py")]
    quotes = re.findall(r"```py\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert quotes
    assert [quote for quote in quotes if not any(quote in source for source in sources)] == []
