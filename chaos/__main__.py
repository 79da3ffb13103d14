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
from chaos.checker import KILLS, RECURRING
from chaos.clock import WrongClock
from chaos.feeder import Feeder
from chaos.fleet import HEARTBEAT_TIMEOUT_S, Member
from chaos.history import Fault, History, Run, runs_of, stale_of
from chaos.network import ADDRESS, SUBNET, HostLine, ProxyLine, enter_server_host
from chaos.plan import Kind, Step, plan
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
DISTURBING = frozenset({Kind.CUT, Kind.SWALLOW, Kind.DELAY})

EPOCH = time.time() - time.monotonic()


class Chaos:
    """One run of it."""

    def __init__(self, folder: Path, stack: ExitStack, *, workers: int, sabotage: str) -> None:
        self._folder = folder
        self._quiet_s = SABOTAGED_QUIET_S if sabotage else QUIET_S
        has_hosts = _has_hosts()
        self.server = Server(
            folder / "postgres",
            {"max_connections": "200", "listen_addresses": ADDRESS if has_hosts else ""},
        )
        self.server.start()
        stack.callback(self.server.close)
        if has_hosts:
            self.server.let_in(SUBNET)
        self.conninfo = _migrated(self.server)
        self.clock = _wrong_clock(folder)
        self.members: list[Member] = []
        for number in range(workers):
            line = HostLine(number) if has_hosts else ProxyLine(self.server)
            stack.callback(line.close)
            wrong = self.clock.environment if self.clock and number == workers - 1 else {}
            self.members.append(Member(number, folder, line, DATABASE, sabotage, wrong))
            stack.callback(self.members[-1].end)
        for member in self.members:
            member.wait_up()
        self.since = time.monotonic()
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
        elif step.kind in DISTURBING:
            member.line.disturb(step.kind)
            time.sleep(step.hold_s)
            member.line.restore()
        elif step.kind is Kind.TERMINATE:
            self._terminate(step)
        elif step.kind is Kind.CLOCK:
            assert self.clock is not None
            self.clock.jump(step.chance)
            name = self.members[-1].name
        else:
            pid = self._signal(member, step)
            if pid is None:
                return
        self.faults.append(Fault(step.kind, name, pid, began, time.monotonic()))
        print(checker.describe(self.faults[-1], self.since), flush=True)

    def _signal(self, member: Member, step: Step) -> int | None:
        """Kill a process, or stop it for a while; answers which, None if there is none just now."""
        pids = {
            Kind.KILL_SUPERVISOR: [member.supervisor],
            Kind.KILL_GROUP: [member.supervisor],
            Kind.STOP_HOUSEKEEPER: member.housekeepers(),
        }.get(step.kind, member.pollers())
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

    def _terminate(self, step: Step) -> None:
        """A third of all connections of workers, of this one's among them or not."""
        with psycopg.connect(self.server.conninfo, autocommit=True) as admin:
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = %s and application_name like 'pgsched %%' and hashint4(pid) %% 3 = %s",
                (DATABASE, int(step.chance * 3)),
            )

    def come_to_rest(self) -> None:
        """No more faults: all workers up, all work done, what recurs recurring; or not, after a while."""
        for member in self.members:
            if not member.is_up:
                member.start()
        since = time.monotonic()
        while time.monotonic() < since + self._quiet_s and not self._is_at_rest(since):
            time.sleep(0.1)

    def _is_at_rest(self, since: float) -> bool:
        recurred = {run.task for run in self._runs() if run.start > since}
        return recurred >= RECURRING and not self._left()

    def _runs(self) -> list[Run]:
        return runs_of((self._folder / "runs").read_text().splitlines(), EPOCH)

    def _left(self) -> set[tuple[str, str]]:
        rows = self._pairs("select task_name, task_instance from scheduled_tasks")
        return {(task, instance) for task, instance in rows if task not in RECURRING}

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
            self._runs(),
            self.faults,
            stale,
            feeder.sure,
            self._left(),
            self._pairs("select task_name, task_instance from scheduled_tasks_failed"),
            effects,
            HEARTBEAT_TIMEOUT_S,
            EPOCH,
            self.since,
            time.monotonic(),
        )


def _has_hosts() -> bool:
    """From here on, this process and what it starts are in a host of their own, where that can be had."""
    try:
        enter_server_host()
    except OSError as error:
        print(f"network: proxies on the loopback, as there are no hosts to be had ({error})")
        return False
    print("network: each worker on a host (network namespace) of its own, cables and a switch")
    return True


def _wrong_clock(folder: Path) -> WrongClock | None:
    try:
        clock = WrongClock(folder)
    except OSError as error:
        print(f"clocks:  all are right, as none could be made wrong ({error})")
        return None
    print("clocks:  the last worker's is an hour ahead, gains 1 %, and jumps")
    return clock


def _migrated(server: Server) -> str:
    with psycopg.connect(server.conninfo, autocommit=True) as admin:
        admin.execute("create role app login")
        admin.execute(f"create database {DATABASE} owner app")
    conninfo = make_conninfo(server.conninfo, dbname=DATABASE, user="app")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        migrate(connection)
        connection.execute("create table effects (instance text)")
    return conninfo


def _report(history: History, seed: int, unsure: int) -> bool:
    """Print the figures and what is wrong; answers whether nothing is."""
    faults = Counter(fault.kind.value for fault in history.faults)
    lateness = checker.Lateness.of(history)
    print(f"\nseed {seed}")
    print(
        f"faults injected      {len(history.faults)}: "
        + ", ".join(f"{n} × {k}" for k, n in faults.items())
    )
    print(f"executions           {len(history.sure)} surely scheduled, {unsure} perhaps")
    print(
        f"runs                 {len(history.runs)}, {len(history.stale)} results refused as stale"
    )
    print(f"lost                 {len(checker.lost(history))}")
    print(
        f"run to the end twice {checker.repeats(history)} where a fault explains it,"
        f" {len(checker.doubled(history))} where none does"
    )
    print(
        f"longest recovery     {checker.longest_recovery(history):.2f} s after the kill of a poller"
    )
    print(
        f"longest healing      {checker.longest_healing(history):.2f} s after an outage of the server"
    )
    print(
        f"longest pause        {checker.longest_pause(history, 'tick'):.2f} s of a task that recurs every 0.3 s,"
        f" {checker.longest_pause(history, 'second'):.2f} s of one that recurs every second"
    )
    print(
        f"lateness after them  {lateness.p50_s:.3f} s p50, {lateness.p99_s:.3f} s p99, {lateness.max_s:.3f} s max,"
        f" of {lateness.number} executions due while there was no fault"
    )
    wrong = checker.violations(history)
    print(f"promises broken      {len(wrong)}")
    for each in wrong[:20]:
        print(f"  {each}")
    print("every promise was kept" if not wrong else "PROMISES WERE BROKEN, see above")
    return not wrong


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--duration", type=float, default=60.0, help="seconds of faults")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument(
        "--sabotage", choices=list(KINDS), default="", help="take a guard out: it must fail"
    )
    parser.add_argument("--kinds", default="", help="of faults, as Kind names them, with commas")
    parser.add_argument("--keep", default="", help="a folder for the logs")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    kinds = tuple(Kind[name] for name in arguments.kinds.split(",") if name)
    # As Ctrl-C: what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with ExitStack() as stack:
        folder = arguments.keep or stack.enter_context(
            tempfile.TemporaryDirectory(prefix="pgsched-chaos-", ignore_cleanup_errors=True)
        )
        Path(folder).mkdir(parents=True, exist_ok=True)
        chaos = Chaos(Path(folder), stack, workers=arguments.workers, sabotage=arguments.sabotage)
        possible = set(Kind) if chaos.clock else set(Kind) - {Kind.CLOCK}
        feeder = Feeder(chaos.conninfo, arguments.seed)
        feeder.start()
        with closing(Client(chaos.conninfo)) as client:
            client.schedule("poison", "poison", checker.POISON_S)
        for step in plan(
            arguments.seed,
            arguments.duration,
            workers=arguments.workers,
            kinds=[kind for kind in kinds or Kind if kind in possible],
        ):
            chaos.carry_out(step)
        feeder.stop()
        chaos.come_to_rest()
        is_kept = _report(chaos.history(feeder), arguments.seed, feeder.unsure)
    return 0 if is_kept else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
