"""`make chaos`: real workers, a seeded plan of faults, and a checker. Exit status 1 where a promise was broken."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from chaos import checker
from chaos.checker import KILLS
from chaos.feeder import Feeder
from chaos.fleet import HEARTBEAT_TIMEOUT_S, Member
from chaos.history import Fault, History, runs_of, stale_of
from chaos.plan import Kind, Step, plan
from chaos.proxy import Mode, Proxy
from chaos.sabotage import KINDS
from chaos.server import Server, Stop
from pgsched import Client
from pgsched.store.migrating import migrate

DATABASE = "chaos"
QUIET_S = 60.0
"""So long after the last fault all work may take to be done."""

SABOTAGED_QUIET_S = 8.0
"""Without a guard it may never be; what the checker looks for has happened by then."""

STOPS = {
    Kind.SERVER_FAST: Stop.FAST,
    Kind.SERVER_IMMEDIATE: Stop.IMMEDIATE,
    Kind.SERVER_KILL: Stop.KILL,
}
MODES = {Kind.CUT: Mode.REFUSE, Kind.SWALLOW: Mode.SWALLOW, Kind.DELAY: Mode.DELAY}


class Chaos:
    """One run of it."""

    def __init__(self, folder: Path, stack: ExitStack, *, workers: int, sabotage: str) -> None:
        self._folder = folder
        self._quiet_s = SABOTAGED_QUIET_S if sabotage else QUIET_S
        self.server = Server(folder / "postgres", {"max_connections": "200"})
        self.server.start()
        stack.callback(self.server.close)
        self.conninfo = _migrated(self.server)
        self.members = [
            Member(number, folder, self.server, DATABASE, sabotage) for number in range(workers)
        ]
        for member in self.members:
            stack.callback(member.end)
        for member in self.members:
            member.wait_up()
        self.faults: list[Fault] = []

    def carry_out(self, step: Step) -> None:
        """Inject a fault, hold it, and undo it."""
        time.sleep(step.pause_s)
        for member in self.members:
            if not member.is_up:
                member.start()
        member = self.members[step.worker]
        name: str | None = member.name
        pid: int | None = None
        began = time.monotonic()
        if step.kind in STOPS:
            self._restart_server(step)
            name = None
        elif step.kind in MODES:
            self._disturb(member.proxy, step)
        elif step.kind is Kind.TERMINATE:
            self._terminate(step)
        else:
            pid = self._signal(member, step)
        self.faults.append(Fault(step.kind, name, pid, began, time.monotonic()))

    def _signal(self, member: Member, step: Step) -> int | None:
        """Kill a process, or stop it for a while; answers which."""
        pids = {
            Kind.KILL_SUPERVISOR: [member.supervisor],
            Kind.KILL_GROUP: [member.supervisor],
            Kind.STOP_HOUSEKEEPER: member.housekeepers(),
        }.get(step.kind) or member.pollers()
        if not pids:
            return None
        pid = pids[int(step.chance * len(pids))]
        with suppress(ProcessLookupError):
            if step.kind is Kind.KILL_GROUP:
                os.killpg(pid, signal.SIGKILL)
            elif step.kind in KILLS:
                os.kill(pid, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGSTOP)
                time.sleep(step.hold_s)
                os.kill(pid, signal.SIGCONT)
        return pid

    def _restart_server(self, step: Step) -> None:
        self.server.stop(STOPS[step.kind])
        time.sleep(step.hold_s)
        self.server.start()

    def _disturb(self, proxy: Proxy, step: Step) -> None:
        proxy.set(MODES[step.kind], delay_s=0.1)
        if step.kind is Kind.CUT:
            proxy.cut()
        time.sleep(step.hold_s)
        if step.kind is Kind.SWALLOW:
            proxy.cut()
        proxy.set(Mode.FORWARD)

    def _terminate(self, step: Step) -> None:
        """A third of all connections of workers, of this one's among them or not."""
        with psycopg.connect(self.server.conninfo, autocommit=True) as admin:
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = %s and application_name like 'pgsched %%' and hashint4(pid) %% 3 = %s",
                (DATABASE, int(step.chance * 3)),
            )

    def come_to_rest(self) -> None:
        """No more faults: all workers up, all work done; or not, after a while."""
        for member in self.members:
            if not member.is_up:
                member.start()
        ends = time.monotonic() + self._quiet_s
        while time.monotonic() < ends and self._left():
            time.sleep(0.1)

    def _left(self) -> set[tuple[str, str]]:
        return self._pairs(
            "select task_name, task_instance from scheduled_tasks where task_name <> 'tick'"
        )

    def _pairs(self, query: str) -> set[tuple[str, str]]:
        with psycopg.connect(self.conninfo) as connection:
            return {(str(one), str(two)) for one, two in connection.execute(query.encode())}

    def history(self, feeder: Feeder) -> History:
        with psycopg.connect(self.conninfo) as connection:
            rows = connection.execute("select instance, count(*) from effects group by 1")
            effects = {str(instance): int(count) for instance, count in rows}
        stale = [
            each
            for log in sorted(self._folder.glob("w*.log"))
            for each in stale_of(log.stem, log.read_text(errors="replace").splitlines())
        ]
        return History(
            runs_of((self._folder / "runs").read_text().splitlines()),
            self.faults,
            stale,
            feeder.sure,
            self._left(),
            self._pairs("select task_name, task_instance from scheduled_tasks_failed"),
            effects,
            HEARTBEAT_TIMEOUT_S,
        )


def _migrated(server: Server) -> str:
    with psycopg.connect(server.conninfo, autocommit=True) as admin:
        admin.execute("create role app login")
        admin.execute(f"create database {DATABASE} owner app")
    conninfo = make_conninfo(server.conninfo, dbname=DATABASE, user="app")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        migrate(connection)
        connection.execute("create table effects (instance text)")
    return conninfo


def _report(history: History, seed: int, unsure: int) -> list[str]:
    faults = Counter(fault.kind.value for fault in history.faults)
    print(f"\nseed {seed}")
    print(
        f"faults injected      {len(history.faults)}: "
        + ", ".join(f"{n} × {k}" for k, n in faults.items())
    )
    print(f"executions           {len(history.sure)} surely scheduled, {unsure} perhaps")
    print(
        f"runs                 {len(history.runs)}, {len(history.stale)} results refused as stale"
    )
    print(
        f"run to the end twice {checker.repeats(history)} (at least once is promised; exact ones once)"
    )
    print(
        f"longest recovery     {checker.longest_recovery(history):.2f} s after the kill of a poller"
    )
    print(
        f"longest healing      {checker.longest_healing(history):.2f} s after an outage of the server"
    )
    print(
        f"longest pause        {checker.longest_tick_gap(history):.2f} s of a task that recurs every 0.3 s"
    )
    wrong = checker.violations(history)
    print(f"promises broken      {len(wrong)}")
    for each in wrong[:20]:
        print(f"  {each}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--duration", type=float, default=60.0, help="seconds of faults")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument(
        "--sabotage", choices=list(KINDS), default="", help="take a guard out: it must fail"
    )
    parser.add_argument("--kinds", default="", help="of faults, as Kind names them, with commas")
    parser.add_argument("--keep", default="", help="a folder for the logs")
    arguments = parser.parse_args()
    kinds = tuple(Kind[name] for name in arguments.kinds.split(",") if name)
    steps = plan(arguments.seed, arguments.duration, workers=arguments.workers, kinds=kinds)
    with ExitStack() as stack:
        folder = arguments.keep or stack.enter_context(
            tempfile.TemporaryDirectory(prefix="pgsched-chaos-", ignore_cleanup_errors=True)
        )
        Path(folder).mkdir(parents=True, exist_ok=True)
        chaos = Chaos(Path(folder), stack, workers=arguments.workers, sabotage=arguments.sabotage)
        feeder = Feeder(chaos.conninfo, arguments.seed)
        feeder.start()
        since = time.monotonic()
        with closing(Client(chaos.conninfo)) as client:
            client.schedule("poison", "poison", checker.POISON_S)
        for step in steps:
            chaos.carry_out(step)
            print(checker.describe(chaos.faults[-1], since), flush=True)
        feeder.stop()
        chaos.come_to_rest()
        return 1 if _report(chaos.history(feeder), arguments.seed, feeder.unsure) else 0


if __name__ == "__main__":
    sys.exit(main())
