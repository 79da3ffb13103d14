"""Runs in the machine: installs a worker as docs/how-to/deploy-systemd.md says, and sees what becomes of it.

By Debian's Python, as root: nothing but the standard library is there. Prints a line a check, and the verdict.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Check = Callable[[], None]

T = TypeVar("T")

MEDIUM = Path("/mnt")
FOLDER = Path("/srv/checkout")
CONFIG = Path("/etc/pgsched")
PAGE = MEDIUM / "deploy-systemd.md"
PGSCHED = "/opt/pgsched/bin/pgsched"
SERVER = "postgresql@15-main"
SECRET = "secret"
ROLES = f"""
create role owner login password '{SECRET}';
create role app login password '{SECRET}';
create role pgsched login;
create database app owner owner;
"""

PATIENCE_S = 120
COMMAND_S = 600
"""Without KVM everything takes ten times as long."""

SETTINGS = {
    "tasks": {"modules": ["myapp.tasks", "probes"]},
    "worker": {
        "processes": 2,
        "concurrency": 5,
        "heartbeat_timeout": "10s",
        "shutdown_timeout": "20s",
        "max_crashes": 2,
        "polling_interval": "1s",
    },
    "logging": {"format": "json"},
}
REPORTS = {"tasks": {"modules": ["reports"]}, "worker": {"processes": 1}}
SLOW_S = 4

CREDENTIAL = Path("/run/credentials/pgsched.service/pgsched.dsn")

CHECKS: list[Check] = []


def check(promise: Check) -> Check:
    CHECKS.append(promise)
    return promise


def main() -> None:
    print("the machine is up")
    failed = 0
    for promise in (prepare_the_machine, install_as_the_page_says, *CHECKS):
        name, began_at = promise.__name__.replace("_", " "), time.monotonic()
        try:
            promise()
        except Exception as error:
            failed += 1
            print(f"FAILED  {name}: {error!r}\n{indented(traceback.format_exc())}")
            print(indented(run("systemctl status --no-pager --full pgsched", expected=None)))
            print(indented(run("journalctl --no-pager --lines 40 --output cat", expected=None)))
            if promise not in CHECKS:
                break
        else:
            print(f"ok  {name}  ({time.monotonic() - began_at:.1f} s)")
    print(f"failed: {failed}" if failed else f"all {len(CHECKS)} checks are good")


# What is done


def prepare_the_machine() -> None:
    """A server of Debian's, with the names of the page; its DSNs say db.internal."""
    run("pg_createcluster 15 main")
    run("systemctl daemon-reload")
    run(f"systemctl start {SERVER}")
    run("runuser -u postgres psql", stdin=ROLES)
    passwords = Path("/root/.pgpass")  # psql would ask for it
    passwords.write_text(f"db.internal:*:app:owner:{SECRET}\n", encoding="ascii")
    passwords.chmod(0o600)
    Path("/home/somebody").mkdir()
    FOLDER.mkdir()
    run(f"cp -r {MEDIUM}/systemd {FOLDER}")


def install_as_the_page_says() -> None:
    """Its files, then its commands, in order; those that follow something for ever are left out."""
    page = PAGE.read_text(encoding="utf-8")
    upgrade = page.index("## 5.")
    for name, text in re.findall(
        r"^```(?:yaml|python)\n# (\S+)\n(.*?)^```", page, re.MULTILINE | re.DOTALL
    ):
        file = FOLDER / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for commands in re.findall(r"^```sh\n(.*?)^```", page[:upgrade], re.MULTILINE | re.DOTALL):
        shell(commands)


def shell(commands: str) -> None:
    """What a person would type in an editor stands behind its line."""
    kept = [line for line in commands.splitlines() if "--follow" not in line]
    typed = re.sub(r"(?m)^sudoedit (\S+) +# (\S+)$", r"sudo tee \1 <<< '\2'", "\n".join(kept))
    run("bash -euxo pipefail", stdin=typed)


# What is checked: the installation


@check
def systemd_understands_the_installed_units() -> None:
    units = "pgsched.service pgsched@reports.service pgsched-migrate.service"
    said = run(f"systemd-analyze verify --man=no {units}")
    assert "pgsched" not in said, said


@check
def the_units_are_exposed_to_little() -> None:
    for unit in ("pgsched", "pgsched-migrate"):
        run(f"systemd-analyze security --threshold=20 --no-pager {unit}.service")


@check
def the_migrations_ran_as_a_unit_of_their_own() -> None:
    assert show("Result", "pgsched-migrate") == "success"
    assert sql("select count(*) > 0 from scheduled_tasks_migrations") == "t"
    assert sql("select tableowner from pg_tables where tablename = 'scheduled_tasks'") == "owner"


@check
def the_worker_was_ready_when_the_command_that_started_it_returned() -> None:
    """What the page has done last; the status line is that of then, as nothing has happened since."""
    assert show("ActiveState") == "active"
    assert show("StatusText") == "2 of 2 pollers, 0 of 20 slots busy", show("StatusText")
    assert run("systemctl is-enabled pgsched").strip() == "enabled"


@check
def the_user_is_made_up_by_systemd() -> None:
    assert "pgsched" not in Path("/etc/passwd").read_text(encoding="ascii")
    names = run(f"ps -o user= -p {','.join(map(str, processes()))}").split()
    assert set(names) == {"pgsched"}, names


@check
def only_the_service_can_read_the_dsn() -> None:
    assert SECRET in CREDENTIAL.read_text(encoding="ascii")
    run(f"runuser -u nobody cat {CREDENTIAL}", expected=1)
    run(f"runuser -u nobody cat {CONFIG}/pgsched.dsn", expected=1)
    assert SECRET not in run("systemctl show pgsched")
    for pid in processes():
        assert SECRET.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes(), pid


@check
def a_scheduled_task_runs_and_what_it_prints_is_in_the_journal() -> None:
    dsn = f"postgresql://app:{SECRET}@db.internal/app"
    command = f"{PGSCHED} schedule --dsn {dsn} send-email user-1 --data-file -"
    run(command, stdin=json.dumps({"to": "ann@example.com"}))
    wait_until(lambda: "to ann@example.com" in journal(), "the text in the journal")


@check
def the_journal_has_one_json_object_a_line() -> None:
    lines = [line for line in journal() if line != "to ann@example.com"]
    events = [json.loads(line) for line in lines]
    assert all({"event", "level", "timestamp"} <= each.keys() for each in events), lines
    assert {"poller.started", "worker.started"} <= {each["event"] for each in events}, lines


# Reload


@check
def a_reload_takes_up_a_new_config_and_new_tasks() -> None:
    (CONFIG / "pgsched.yaml").write_text(json.dumps(SETTINGS), encoding="ascii")
    write_probes(version=1)
    reload("worker.reloaded")
    wait_until(lambda: "of 10 slots" in show("StatusText"), "the status of the new config")
    assert noted() == 1


@check
def a_reload_takes_up_new_code_and_interrupts_nothing() -> None:
    before = main_pid()
    begin("over-reload")
    write_probes(version=2)
    reload("worker.reloaded")
    assert noted() == 2
    let_go("over-reload")
    assert wait_ended("over-reload")["version"] == 1
    assert len(told("started", "over-reload")) == 1
    assert (main_pid(), show("NRestarts")) == (before, "0")


@check
def a_reload_of_broken_code_is_refused_and_told() -> None:
    before = main_pid()
    (CONFIG / "probes.py").write_text("def (:", encoding="ascii")
    reload("worker.reload_refused")
    status = show("StatusText")
    assert "refused" in status, status
    assert "probes" in status, status
    assert noted() == 2
    assert (show("ActiveState"), main_pid(), show("NRestarts")) == ("active", before, "0")
    write_probes(version=3)
    reload("worker.reloaded")
    assert noted() == 3


@check
def a_changed_dsn_takes_a_restart() -> None:
    dsn = f"postgresql://app:{SECRET}@db.internal/app?application_name=changed"
    (CONFIG / "pgsched.dsn").write_text(dsn, encoding="ascii")
    reload("worker.reloaded")
    assert "changed" not in CREDENTIAL.read_text(encoding="ascii")
    restart()
    assert CREDENTIAL.read_text(encoding="ascii") == dsn
    assert noted() == 3


# Sandbox


@check
def tasks_run_under_the_rules_of_the_unit() -> None:
    schedule("look", "rules")
    [found] = wait_until(lambda: told("found", "rules"), "what the task found")
    assert found["etc"] == found["code"] == "Read-only file system", found
    assert found["tmp"] == "written", found
    assert not Path("/tmp/mark").exists()
    assert not found["homes"], found
    assert not found["init"], found
    assert "PGSCHED_DATABASE__DSN_FILE" in found["environment"], found
    assert SECRET not in str(found["environment"]), found
    status = {name: value.strip() for name, value in found["status"].items()}
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, status
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), status


# Processes that die


@check
def a_killed_poller_is_replaced_and_what_it_ran_runs_again() -> None:
    before = main_pid()
    os.kill(begin("in-a-killed-poller")["pid"], signal.SIGKILL)
    wait_started_again("in-a-killed-poller")
    wait_until(lambda: "2 of 2 pollers" in show("StatusText"), "two pollers")
    assert (show("ActiveState"), main_pid(), show("NRestarts")) == ("active", before, "0")


@check
def a_killed_worker_is_started_anew_without_orphans_and_what_it_ran_runs_again() -> None:
    before = processes()
    begin("in-a-killed-worker")
    os.kill(main_pid(), signal.SIGKILL)
    wait_restarted(1)
    assert not set(before) & set(existing()), before
    wait_started_again("in-a-killed-worker")


@check
def the_watchdog_ends_a_worker_that_stands_still_and_it_is_started_anew() -> None:
    """Looked at before: one that moves is fed for twice as long."""
    drop_in("WatchdogSec=10")
    restart()
    time.sleep(20)
    assert show("NRestarts") == "0"
    before = processes()
    begin("in-a-stopped-worker")
    os.kill(main_pid(), signal.SIGSTOP)
    wait_restarted(1)
    assert not set(before) & set(existing()), before
    assert "Watchdog timeout" in run("journalctl --no-pager --unit pgsched --output cat")
    wait_started_again("in-a-stopped-worker")
    drop_in("")
    restart()


@check
def a_task_that_eats_all_memory_takes_its_poller_alone() -> None:
    drop_in("MemoryMax=600M")
    restart()
    before = main_pid()
    schedule("eat", "everything")
    wait_until(lambda: failed_executions() == ["everything"], "it to be given up")
    assert len(told("started", "everything")) == 2
    assert "oom-kill" in run("journalctl --no-pager --dmesg --output cat")
    assert noted() == 3
    assert (show("ActiveState"), main_pid(), show("NRestarts")) == ("active", before, "0")
    drop_in("")


# Postgres


@check
def an_outage_of_postgres_leaves_the_service_active_and_work_goes_on() -> None:
    restart()
    before = main_pid()
    begin("over-outage")
    with no_server():
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            assert show("ActiveState") == "active"
            time.sleep(0.5)
        assert "out of touch with the database" in show("StatusText"), show("StatusText")
        let_go("over-outage")
        wait_ended("over-outage")
    noted()
    wait_until(lambda: sql("select count(*) from scheduled_tasks") == "0", "no row to be left")
    assert len(told("started", "over-outage")) == 1
    assert (main_pid(), show("NRestarts")) == (before, "0")


@check
def a_worker_without_postgres_tries_again_until_it_is_there() -> None:
    with no_server():
        run("systemctl restart pgsched", expected=1)
        wait_until(lambda: int(show("NRestarts")) >= 2, "two more tries")
        wait_until(lambda: show("ExecMainStatus") == "75", "the end of another one")
    wait_until(lambda: show("ActiveState") == "active", "it to be ready")
    noted()


# Stop


@check
def a_stop_drains_what_runs() -> None:
    begin("over-stop")
    run("systemctl stop --no-block pgsched")
    wait_until(lambda: show("StatusText").startswith("draining: 1 "), "the status of the drain")
    assert show("ActiveState") == "deactivating"
    let_go("over-stop")
    wait_stopped()
    assert told("ended", "over-stop")
    assert sql("select count(*) from scheduled_tasks") == "0"
    run("systemctl start pgsched")


@check
def a_drain_may_take_longer_than_the_unit_says() -> None:
    """The worker asks for more time, up to its own shutdown_timeout."""
    drop_in("TimeoutStopSec=3")
    restart()
    begin("over-time")
    run("systemctl stop --no-block pgsched")
    time.sleep(12)
    let_go("over-time")
    wait_stopped()
    assert told("ended", "over-time")
    drop_in("")
    run("systemctl start pgsched")


@check
def what_is_still_running_at_the_end_of_a_stop_is_due_again() -> None:
    begin("too-long")
    began_at = time.monotonic()
    run("systemctl stop pgsched")
    assert 20 <= time.monotonic() - began_at < 50
    wait_stopped()
    row = "picked, consecutive_failures, crashes, execution_time <= now()"
    assert sql(f"select {row} from scheduled_tasks") == "f|0|0|t"
    sql("delete from scheduled_tasks")
    run("systemctl start pgsched")


# The template


@check
def an_invalid_config_is_not_tried_again() -> None:
    (CONFIG / "wrong.yaml").write_text("wroker: {}\n", encoding="ascii")
    run(f"cp --preserve {CONFIG}/pgsched.dsn {CONFIG}/wrong.dsn")
    run("systemctl start pgsched@wrong", expected=1)
    shown = [show(what, "pgsched@wrong") for what in ("ActiveState", "ExecMainStatus", "NRestarts")]
    assert shown == ["failed", "78", "0"], shown
    [line] = journal("pgsched@wrong")
    assert "wroker" in line, line


@check
def an_instance_of_the_template_works_beside_it_as_another_role() -> None:
    """By peer authentication; it takes its time to be ready, and so does the command that starts it."""
    before = main_pid()
    module = f"""import time
from pgsched import one_time
time.sleep({SLOW_S})
@one_time("report")
def report() -> None:
    print("reported")
"""
    (CONFIG / "reports.py").write_text(module, encoding="ascii")
    (CONFIG / "reports.yaml").write_text(json.dumps(REPORTS), encoding="ascii")
    (CONFIG / "reports.dsn").write_text("postgresql:///app?host=/run/postgresql", encoding="ascii")
    grants = run(f"{PGSCHED} migrate --print-grants --role worker=pgsched")
    run("runuser -u postgres psql app", stdin=grants)
    began_at = time.monotonic()
    run("systemctl enable --now pgsched@reports")
    assert time.monotonic() - began_at > SLOW_S
    assert show("StatusText", "pgsched@reports").startswith("1 of 1 pollers")
    schedule("report", "monday")
    wait_until(lambda: "reported" in journal("pgsched@reports"), "the report")
    sessions = "select count(*) > 0 from pg_stat_activity where usename = 'pgsched'"
    assert sql(sessions) == "t"
    assert (show("ActiveState"), main_pid()) == ("active", before)
    run("systemctl stop pgsched@reports")


@check
def an_upgrade_as_the_page_says_goes_by_a_reload() -> None:
    before, count = main_pid(), reloads("worker.reloaded")
    page = PAGE.read_text(encoding="utf-8")
    [commands] = re.findall(r"^## 5\..*?^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    shell(commands)
    wait_until(lambda: reloads("worker.reloaded") > count, "the reload")
    assert main_pid() == before


# How it is done


def run(command: str, *, stdin: str | None = None, expected: int | None = 0) -> str:
    """What it prints. Raises: AssertionError where its exit status is another than expected."""
    done = subprocess.run(
        command.split(),
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=FOLDER if FOLDER.exists() else "/",
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    assert expected in {None, done.returncode}, f"{command}: {done.returncode}: {done.stdout}"
    return done.stdout


def wait_until(condition: Callable[[], T | None], describe: str) -> T:
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s in vain for {describe}"
        time.sleep(0.1)
    return value


def indented(text: str) -> str:
    return "\n".join(f"    | {line}" for line in text.splitlines())


def show(what: str, unit: str = "pgsched") -> str:
    return run(f"systemctl show --value --property {what} {unit}").strip()


def main_pid() -> int:
    return int(show("MainPID"))


def processes() -> list[int]:
    """Of the service, now."""
    group = Path("/sys/fs/cgroup" + show("ControlGroup"), "cgroup.procs")
    return [int(line) for line in group.read_text(encoding="ascii").split()]


def existing() -> list[int]:
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]


def drop_in(line: str) -> None:
    """In force from the next start on."""
    folder = Path("/etc/systemd/system/pgsched.service.d")
    folder.mkdir(exist_ok=True)
    (folder / "override.conf").write_text(f"[Service]\n{line}\n", encoding="ascii")
    run("systemctl daemon-reload")


def restart() -> None:
    run("systemctl restart pgsched")


def wait_restarted(times: int) -> None:
    """By systemd, after the worker has failed."""
    wait_until(
        lambda: (show("NRestarts"), show("ActiveState")) == (str(times), "active"),
        f"restart {times}",
    )


def write_probes(*, version: int) -> None:
    text = (MEDIUM / "probes.py").read_text(encoding="utf-8")
    (CONFIG / "probes.py").write_text(
        text.replace("VERSION = 1", f"VERSION = {version}"), encoding="utf-8"
    )


def reload(event: str) -> None:
    count = reloads(event)
    run("systemctl reload pgsched")
    wait_until(lambda: reloads(event) > count, event)
    wait_until(lambda: show("ActiveState") == "active", "the reload to end")


def reloads(event: str) -> int:
    return sum(each.get("event") == event for each in objects())


def journal(unit: str = "pgsched") -> list[str]:
    """What its processes have written."""
    unit_of = f"_SYSTEMD_UNIT={unit}.service"
    return run(f"journalctl --no-pager --output cat {unit_of} _TRANSPORT=stdout").splitlines()


def objects() -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal() if line.startswith("{")]


def told(what: str, instance: str) -> list[dict[str, Any]]:
    """What a task has told of itself."""
    return [
        each for each in objects() if (each.get("probe"), each.get("instance")) == (what, instance)
    ]


def schedule(task: str, instance: str) -> None:
    """As any program may: the worker polls each second."""
    sql(f"insert into scheduled_tasks (task_name, task_instance) values ('{task}', '{instance}')")


def begin(instance: str) -> dict[str, Any]:
    """One that runs until it is let go."""
    schedule("hold", instance)
    return wait_until(lambda: told("started", instance), f"{instance} to start")[-1]


def let_go(instance: str) -> None:
    folder = CONFIG / "let-go"
    folder.mkdir(exist_ok=True)
    (folder / instance).touch()


def wait_ended(instance: str) -> dict[str, Any]:
    return wait_until(lambda: told("ended", instance), f"{instance} to end")[-1]


def wait_started_again(instance: str) -> None:
    """And to its end."""
    wait_until(lambda: len(told("started", instance)) > 1, f"{instance} to start again")
    let_go(instance)
    wait_ended(instance)
    assert len(told("started", instance)) == 2


def noted() -> int:
    """The version of the tasks that a new execution runs."""
    instance = f"note-{time.monotonic_ns()}"
    schedule("note", instance)
    return int(wait_ended(instance)["version"])


def wait_stopped() -> None:
    wait_until(lambda: show("ActiveState") in {"inactive", "failed"}, "the service to stop")
    ended = [show(what) for what in ("ActiveState", "Result", "ExecMainStatus")]
    assert ended == ["inactive", "success", "0"], ended


def failed_executions() -> list[str]:
    return sql("select task_instance from scheduled_tasks_failed").split()


def sql(statement: str) -> str:
    return run("runuser -u postgres -- psql --dbname app -At", stdin=statement).strip()


@contextmanager
def no_server() -> Iterator[None]:
    run(f"systemctl stop {SERVER}")
    try:
        yield
    finally:
        run(f"systemctl start {SERVER}")


if __name__ == "__main__":
    main()
