"""What the unit, the image and the deployment pages say agrees with the code."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from pgsched.config.settings import WorkerSettings
from pgsched.worker.family import HOUSEKEEPER_GRACE_S
from pgsched.worker.reporting import REPORTER_GRACE_S
from pgsched.worker.supervisor import KILL_GRACE_S

ROOT = Path(__file__).resolve().parents[1]
UNIT = (ROOT / "systemd/pgsched.service").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")

GRACE_S = KILL_GRACE_S + HOUSEKEEPER_GRACE_S + REPORTER_GRACE_S
LONGEST_STOP = WorkerSettings().shutdown_timeout + timedelta(seconds=GRACE_S)
EXECUTABLE = "/opt/pgsched/bin/pgsched"


UNITS = ["pgsched.service", "pgsched@.service", "pgsched-migrate.service"]

needs_systemd_analyze = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed"
)


def analyzed(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False
    )
    if "Failed to initialize manager" in done.stderr:
        pytest.skip("systemd-analyze does not work in this environment")
    return done


@needs_systemd_analyze
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """Their executable is the one thing that must be there; any will do."""
    for name in UNITS:
        text = (ROOT / "systemd" / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace(EXECUTABLE, sys.executable), encoding="utf-8")
    named = [str(tmp_path / name.replace("@", "@reports")) for name in UNITS]
    done = analyzed("verify", "--man=no", *named)
    about_ours = [line for line in done.stderr.splitlines() if "pgsched" in line]
    assert (done.returncode, about_ours) == (0, [])


def test_the_virtual_machine_says_what_it_lacks(tmp_path: Path) -> None:
    """Root, or programs: in one line, and with the status that means "skipped"."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.systemd.machine"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (77, "")
    assert re.fullmatch(r"skipped: this needs .+\n", done.stdout)


@needs_systemd_analyze
@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_exposed_to_little(name: str) -> None:
    """2.0 of 10: "OK". Proven by leaving out what it says of system calls: 3.0."""
    unit = str(ROOT / "systemd" / name)
    done = analyzed("security", "--offline=true", "--threshold=20", "--no-pager", unit)
    assert done.returncode == 0, done.stdout


def test_an_instance_is_the_same_unit_but_for_its_names() -> None:
    instance = (ROOT / "systemd/pgsched@.service").read_text(encoding="utf-8")
    lines = [line for line in instance.splitlines() if "pgsched@reports" not in line]
    expected = UNIT.replace("/etc/pgsched/pgsched.", "/etc/pgsched/%i.")
    expected = expected.replace("Description=pgsched worker", "Description=pgsched worker %i")
    assert [line for line in lines if not line.startswith("# The same as")] == expected.splitlines()


@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="systemd is not installed")
def test_systemd_understands_the_snippets(tmp_path: Path) -> None:
    """On a root of its own: what they make and whose it is."""
    (tmp_path / "etc/pgsched").mkdir(parents=True)
    for name in ("pgsched.yaml", "pgsched.dsn", "pgsched.env"):
        (tmp_path / "etc/pgsched" / name).write_text("")
    for tool, snippet in (
        (["systemd-sysusers"], "sysusers.conf"),
        (["systemd-tmpfiles", "--create"], "tmpfiles.conf"),
    ):
        done = subprocess.run(
            [*tool, f"--root={tmp_path}", str(ROOT / "systemd" / snippet)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode and os.geteuid():
            pytest.skip(f"only root may give files away: {done.stderr}")
        assert (done.returncode, done.stderr.count("pgsched.conf")) == (0, 0), done.stderr
    modes = {
        each.name: each.stat().st_mode & 0o777 for each in (tmp_path / "etc/pgsched").iterdir()
    }
    assert modes == {"pgsched.yaml": 0o644, "pgsched.dsn": 0o600, "pgsched.env": 0o600}
    assert "pgsched:" in (tmp_path / "etc/passwd").read_text()


def test_the_watchdog_waits_for_the_supervisor_to_replace_who_stands_still() -> None:
    [watchdog] = re.findall(r"^WatchdogSec=(\d+)$", UNIT, re.MULTILINE)
    assert timedelta(seconds=int(watchdog)) > WorkerSettings().stall_timeout


def test_nobody_kills_a_worker_that_still_may_stop_by_itself() -> None:
    said = {
        "systemd/pgsched.service": r"^TimeoutStopSec=(\d+)$",
        "deploy/kubernetes/base/deployment.yaml": r"terminationGracePeriodSeconds: (\d+)$",
        "docs/how-to/deploy-docker.md": r"(?:--stop-timeout |stop_grace_period: )(\d+)",
    }
    for file, pattern in said.items():
        times = re.findall(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
        assert times, file
        assert all(timedelta(seconds=int(time)) > LONGEST_STOP for time in times), file


def test_pages_say_what_comes_on_top_of_the_shutdown_timeout() -> None:
    for file in ("docs/how-to/deploy-kubernetes.md", "docs/how-to/deploy-docker.md"):
        text = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"(?:plus|and) {GRACE_S:.0f} s\b", text), file


@pytest.mark.parametrize(
    "line",
    [
        "Type=notify",
        "NotifyAccess=main",
        "KillMode=mixed",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "LoadCredential=pgsched.dsn:/etc/pgsched/pgsched.dsn",
        "Environment=PGSCHED_DATABASE__DSN_FILE=%d/pgsched.dsn",
        "Restart=on-failure",
        "RestartPreventExitStatus=78",
        f"ExecStart={EXECUTABLE} worker --config /etc/pgsched/pgsched.yaml",
    ],
)
def test_the_unit_says(line: str) -> None:
    assert line in UNIT.splitlines()


def test_the_image_runs_the_command_itself_and_as_nobody_in_particular() -> None:
    last_stage = DOCKERFILE.rpartition("\nFROM ")[2]
    instructions = dict(re.findall(r"^([A-Z]+) (.*)$", last_stage, re.MULTILINE))
    assert json.loads(instructions["ENTRYPOINT"]) == ["pgsched"]
    assert instructions["STOPSIGNAL"] == "SIGTERM"
    assert all(int(number) > 0 for number in instructions["USER"].split(":"))


def test_what_the_image_is_built_from_is_there_and_not_ignored() -> None:
    copied = [
        name
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for name in sources.split()
    ]
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert copied
    assert [name for name in copied if not (ROOT / name).exists() or f"!{name}" not in kept] == []
