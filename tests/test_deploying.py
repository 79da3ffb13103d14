"""What the unit, the image and the deployment pages say agrees with the code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from pgsched.config.settings import WorkerSettings
from pgsched.worker.supervisor import HOUSEKEEPER_GRACE_S, KILL_GRACE_S

ROOT = Path(__file__).resolve().parents[1]
UNIT = (ROOT / "systemd/pgsched.service").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")

LONGEST_STOP = WorkerSettings().shutdown_timeout + timedelta(
    seconds=KILL_GRACE_S + HOUSEKEEPER_GRACE_S
)
EXECUTABLE = "/opt/pgsched/bin/pgsched"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """Its executable is the one thing that must be there; any will do."""
    unit = tmp_path / "pgsched.service"
    unit.write_text(UNIT.replace(EXECUTABLE, sys.executable), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "Failed to initialize manager" in done.stderr:
        pytest.skip("systemd-analyze does not work in this environment")
    about_ours = [line for line in done.stderr.splitlines() if "pgsched" in line]
    assert (done.returncode, about_ours) == (0, [])


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


@pytest.mark.parametrize(
    "line",
    [
        "Type=notify",
        "NotifyAccess=main",
        "KillMode=mixed",
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
