"""Ten workers on hosts of their own, a primary and its standby on two more: one host is silent, the primary dies.

`python -m tests.faults.ten_hosts FOLDER`, as root: answers what came of it as JSON, for the test beside this file. A
program of its own, as it leaves the machine's network.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg.conninfo import make_conninfo

from chaos.network import ADDRESS, HostLine, enter_server_host
from chaos.plan import Kind
from pgsched import NewExecution, PgschedError
from tests.faults.conftest import fresh_database
from tests.faults.nodes import Cluster
from tests.waiting import wait_until
from tests.worker.running import Project

if TYPE_CHECKING:
    from tests.worker.running import Worker

HOSTS = 10
SLOTS = 10 * HOSTS
SILENT = 3
STANDBY = "10.0.0.254"
NO_HOSTS = "no hosts: "
PATIENCE_S = 60
IN_QUARANTINE = -1
"""In a process of its own, as what was recovered is: on whichever host."""


def main(folder: Path) -> None:
    try:
        enter_server_host()
    except OSError as error:
        sys.exit(f"{NO_HOSTS}{error}")
    for command in ("link set lo up", f"address add {STANDBY}/24 dev br0"):
        subprocess.run(["ip", *command.split()], check=True)
    with ExitStack() as stack:
        cluster = stack.enter_context(closing(Cluster(ADDRESS)))
        fresh_database(cluster.primary.conninfo)
        stack.enter_context(closing(cluster.follow(STANDBY)))
        cluster.commit_synchronously(is_on=True)
        dsn = make_conninfo(host=f"{ADDRESS},{STANDBY}", dbname="faults", user="app")
        project = Project(folder, dsn, settings={"processes": 1})
        stack.callback(project.client.close)
        lines = [HostLine(number) for number in range(HOSTS)]
        project.place = lambda number, command: lines[number].command(command)
        workers = [project.worker(number=number) for number in range(HOSTS)]
        for line, worker in zip(lines, workers, strict=True):
            stack.callback(line.close)
            stack.callback(worker.kill_everything)
        print(json.dumps(Run(cluster, project, lines, workers).report()))


class Run:
    """One failover with work before, during and after it."""

    def __init__(
        self, cluster: Cluster, project: Project, lines: list[HostLine], workers: list[Worker]
    ) -> None:
        self._cluster = cluster
        self._project = project
        self._lines = lines
        self._workers = workers
        self._sure: list[str] = []

    def report(self) -> dict[str, object]:
        for worker in self._workers:
            worker.wait_ready()
        self._feed("before")
        self._project.wait_entries("started", count=SLOTS)
        self._lines[SILENT].disturb(Kind.SWALLOW)
        self._feed("cut-off")
        self._cluster.primary.kill()
        self._cluster.promote()
        wait_until(partial(self._feed, "promoted"), describe="the client to find the new primary")
        for number, worker in enumerate(self._workers):
            if number != SILENT:
                worker.wait_event("database.regained", timeout=PATIENCE_S)
        self._wait_none("picked_by like %s", f"{self._workers[SILENT].identity}/%")
        self._lines[SILENT].restore()
        self._workers[SILENT].wait_event("database.regained", timeout=PATIENCE_S)
        self._feed("restored")
        self._wait_none("task_name in ('run', 'sleep')")
        return self._facts()

    def _feed(self, phase: str) -> bool:
        """A long one for each slot, and quick ones; answers whether they were surely committed."""
        quick = [NewExecution("run", f"{phase}-{n}") for n in range(100)]
        long = [NewExecution("sleep", f"{phase}-long-{n}", 1) for n in range(SLOTS)]
        try:
            self._project.client.schedule_many([*long, *quick])
        except PgschedError:
            return False
        self._sure += [each.instance for each in (*quick, *long)]
        return True

    def _count(self, event: str) -> int:
        return sum(len(worker.events(event)) for worker in self._workers)

    def _wait_none(self, condition: str, *parameters: str) -> None:
        query = f"select 1 from scheduled_tasks where {condition} limit 1"
        wait_until(
            lambda: not self._project.sql(query, *parameters),
            timeout=PATIENCE_S,
            describe=f"nothing to be left with {condition}",
        )

    def _facts(self) -> dict[str, object]:
        host_of = {
            event["pid"]: number
            for number, worker in enumerate(self._workers)
            for event in worker.events("poller.started")
        }
        runs: dict[str, list[int]] = {}
        for entry in self._project.diary():
            if entry.what in {"ran", "ended"}:
                runs.setdefault(entry.instance, []).append(host_of.get(entry.pid, IN_QUARANTINE))
        return {
            "sure": len(self._sure),
            "lost": [each for each in self._sure if each not in runs],
            "repeated": {each: hosts for each, hosts in runs.items() if len(hosts) > 1},
            "hosts": sorted({host for hosts in runs.values() for host in hosts}),
            "died": self._count("poller.died"),
            "stale": len(self._workers[SILENT].events("completion.stale")),
            "after_the_cut": sum(
                hosts == [SILENT] for each, hosts in runs.items() if each.startswith("restored")
            ),
        }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
