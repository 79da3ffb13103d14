"""Runs workers for tests and reads what they log and what their tasks write down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from pgsched import Client
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TASKS = Path(__file__).with_name("tasks_of_tests.py")

QUICK: dict[str, object] = {
    "processes": 2,
    "polling_interval": "5s",
    "heartbeat_timeout": "3s",
    "heartbeat_interval": "500ms",
    "shutdown_timeout": "10s",
}


class Entry(NamedTuple):
    """One line of the diary: a task wrote down what it did, in which process."""

    at: float
    pid: int
    what: str
    instance: str
    token: int


class Project:
    """A folder as a user has it, on a database of its own."""

    def __init__(
        self,
        folder: Path,
        conninfo: str,
        *,
        tasks: Path = TASKS,
        pooler: str | None = None,
        settings: Mapping[str, object] = QUICK,
    ) -> None:
        self.folder = folder
        self._settings = {**QUICK, **settings}
        self.conninfo = conninfo
        self.pooler = pooler
        self.module = "pgsched"
        self.client = Client(conninfo)
        self._diary = folder / "diary"
        self.release: Path | None = None
        self.place: Callable[[int, list[str]], list[str]] = lambda _number, command: command
        """How a command is run where the worker of a number is to be."""
        self.monitoring: dict[str, object] = {}
        self.logging: dict[str, object] = {}
        (folder / "tasks_of_tests.py").write_text(tasks.read_text())

    def worker(self, *, number: int, **options: object) -> Worker:
        config = self.folder / f"pgsched-{number}.yaml"
        settings = {
            "database": {"dsn": self.conninfo, "pooler": self.pooler},
            "tasks": {"modules": ["tasks_of_tests"]},
            "worker": {**self._settings, **options},
            "monitoring": self.monitoring,
            "logging": {"format": "json", "level": "info", **self.logging},
        }
        config.write_text(json.dumps(settings))
        environment = {**os.environ, "DIARY": str(self._diary)}
        command = [sys.executable, "-m", self.module, "worker", "--config", str(config)]
        return Worker(self.place(number, command), environment, release=self.release)

    def diary(self, what: str | None = None, instance: str | None = None) -> list[Entry]:
        """What tasks wrote down, in order."""
        if not self._diary.exists():
            return []
        entries = []
        whole, _, _ = self._diary.read_text().rpartition("\n")  # the last one may still be written
        for line in whole.splitlines():
            at, pid, kind, name, token = line.split()
            entries.append(Entry(float(at), int(pid), kind, name, int(token)))
        return [
            entry
            for entry in entries
            if what in {None, entry.what} and instance in {None, entry.instance}
        ]

    def wait_entries(self, what: str, instance: str | None = None, count: int = 1) -> list[Entry]:
        return wait_until(
            lambda: entries if len(entries := self.diary(what, instance)) >= count else None,
            describe=lambda: (
                f"{count} entries {what!r} of {instance!r}; there are {self.diary()[-20:]}"
            ),
        )

    def sql(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def row(self, instance: str) -> dict[str, Any] | None:
        """The row of an instance, its columns by name."""
        with psycopg.connect(self.conninfo, row_factory=psycopg.rows.dict_row) as connection:
            return connection.execute(
                "select * from scheduled_tasks where task_instance = %s", (instance,)
            ).fetchone()

    def begin(self, task: str, instance: str, data: object = None) -> Entry:
        """Schedule it, and wait until it has started."""
        self.client.schedule(task, instance, data)
        [entry] = self.wait_entries("started", instance)
        return entry

    def wait_gone(self, instance: str) -> None:
        wait_until(lambda: self.row(instance) is None, describe=f"{instance} to be completed")


class Worker:
    """One `pgsched worker` and the lines it logs; of another release where its folder is given."""

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        *,
        release: Path | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=release,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line)

    def events(self, event: str, **facts: object) -> list[dict[str, Any]]:
        """Logged events of a name that carry these facts."""
        parsed = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [
            each
            for each in parsed
            if each["event"] == event
            and all(each.get(key) == value for key, value in facts.items())
        ]

    def wait_event(
        self, event: str, *, count: int = 1, timeout: float = 15, **facts: object
    ) -> list[dict[str, Any]]:
        return wait_until(
            lambda: found if len(found := self.events(event, **facts)) >= count else None,
            timeout=timeout,
            describe=lambda: (
                f"{count} × {event} {facts}; the log ends with {''.join(self.lines[-15:])}"
            ),
        )

    def wait_ready(self) -> None:
        config = self.events("worker.started") or self.wait_event("worker.started", timeout=30)
        self.wait_event("poller.started", count=config[0]["processes"])

    @property
    def identity(self) -> str:
        """What `picked_by` of its pollers begins with."""
        return str(self.wait_event("worker.started")[0]["worker"])

    @property
    def pollers(self) -> list[int]:
        """The processes of the pollers that are there now, first started first."""
        gone = {
            each["pid"] for name in ("poller.died", "poller.stopped") for each in self.events(name)
        }
        return [each["pid"] for each in self.events("poller.started") if each["pid"] not in gone]

    @property
    def housekeeper(self) -> int:
        pid: int = self.events("housekeeper.started")[-1]["pid"]
        return pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait_exit(self, timeout: float = 30) -> int:
        status = self._process.wait(timeout=timeout)
        self._reader.join(timeout=5)
        return status

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait_exit()

    def kill_everything(self) -> None:
        """The whole process group, whatever state it is in."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(timeout=10)
        self._reader.join(timeout=5)
        if self._process.stderr is not None:
            self._process.stderr.close()


def is_there(pid: int) -> bool:
    """Whether a process exists that is not a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
