"""Real workers, each with a line of its own to the server, and what can be done to them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaos.network import Line

PROCESSES = 2
START_S = 30.0

SETTINGS: dict[str, object] = {
    "processes": PROCESSES,
    "concurrency": 5,
    "polling_interval": "1s",
    "heartbeat_timeout": "3s",
    "heartbeat_interval": "500ms",
    "shutdown_timeout": "5s",
    "max_crashes": 3,
}
HEARTBEAT_TIMEOUT_S = 3.0


class Member:
    """One worker and its successors: each start is a new generation with a name of its own."""

    def __init__(
        self,
        number: int,
        folder: Path,
        line: Line,
        database: str,
        sabotage: str,
        environment: Mapping[str, str],
    ) -> None:
        self._number = number
        self._folder = folder
        self._environment = environment
        self._sabotage = sabotage
        self._generation = 0
        self.line = line
        self._conninfo = make_conninfo(
            host=line.address, port=line.port, dbname=database, user="app", sslmode="disable"
        )
        self._processes: list[subprocess.Popen[bytes]] = []
        self.start()

    @property
    def name(self) -> str:
        return f"w{self._number}.{self._generation}"

    @property
    def supervisor(self) -> int:
        return self._processes[-1].pid

    @property
    def is_up(self) -> bool:
        return self._processes[-1].poll() is None

    def start(self) -> None:
        self._generation += 1
        config = self._folder / f"{self.name}.yaml"
        settings = {
            "database": {"dsn": self._conninfo},
            "tasks": {"modules": ["chaos.tasks"]},
            "worker": {**SETTINGS, "id": self.name},
            "logging": {"format": "json", "level": "info"},
        }
        config.write_text(json.dumps(settings))
        module = ["chaos.sabotage", self._sabotage] if self._sabotage else ["pgsched"]
        environment = {
            **os.environ,
            **self._environment,
            "CHAOS_LOG": str(self._folder / "runs"),
            "CHAOS_WORKER": self.name,
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        command = [sys.executable, "-m", *module, "worker", "--config", str(config)]
        with (self._folder / f"{self.name}.log").open("wb") as log:
            process = subprocess.Popen(
                self.line.command(command),
                env=environment,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)

    def wait_up(self) -> None:
        """Until its pollers have started: a fault before that would only keep it from starting."""
        ends = time.monotonic() + START_S
        while len(self.pollers()) < PROCESSES and time.monotonic() < ends:
            time.sleep(0.05)

    def events(self) -> list[dict[str, Any]]:
        """What this generation has logged so far."""
        lines = (self._folder / f"{self.name}.log").read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def pollers(self) -> list[int]:
        """The pollers that are there now."""
        pids = [each["pid"] for each in self.events() if each["event"] == "poller.started"]
        return [pid for pid in pids if _parent(pid) == self.supervisor]

    def housekeepers(self) -> list[int]:
        """The one that is there now, if any."""
        pids = [each["pid"] for each in self.events() if each["event"] == "housekeeper.started"]
        return [pid for pid in pids if _parent(pid) == self.supervisor]

    def end(self) -> None:
        """All generations, the last one in order."""
        if self.is_up:
            self._processes[-1].send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._processes[-1].wait(timeout=20)
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    state, parent, *_ = stat.rpartition(")")[2].split()
    return None if state == "Z" else int(parent)
