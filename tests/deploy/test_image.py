"""What the Dockerfile says: nothing unpinned gets in, and its health check tells a live worker from none."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from tests.deploy.shipped import ROOT
from tests.worker.running import Project

if TYPE_CHECKING:
    from pathlib import Path

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
LAST_STAGE = DOCKERFILE.rpartition("\nFROM ")[2]


def test_whatever_pip_fetches_is_locked() -> None:
    """What builds the wheel, too: it could put anything into it."""
    commands = re.findall(r"pip (?:install|wheel) (.+)$", DOCKERFILE, re.MULTILINE)
    for command in commands[:-2]:
        assert re.match(r"--require-hashes --only-binary :all: --requirement requirements", command)
    assert [command.split()[:2] for command in commands[-2:]] == [
        ["--no-deps", "--no-build-isolation"],
        ["--no-deps", "/wheels/*.whl"],
    ]


def test_what_builds_the_wheel_is_locked() -> None:
    [asked] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"][
        "requires"
    ]
    lock = (ROOT / "requirements-build.txt").read_text("utf-8")
    pinned = dict(re.findall(r"^(\S+)==(\S+) \\$", lock, re.MULTILINE))
    assert Requirement(asked).specifier.contains(pinned["hatchling"])
    assert lock.count("--hash=sha256:") >= len(pinned)
    assert "://" not in lock, "an index of one machine is none of the others'"


@pytest.mark.skipif(
    bool(os.geteuid()) or shutil.which("useradd") is None, reason="only root can make users"
)
def test_the_user_is_made_the_same_on_every_day(tmp_path: Path) -> None:
    """Without the time given /etc/shadow holds today, and each day's image is another."""
    (tmp_path / "etc").mkdir()
    for name in ("passwd", "group", "shadow", "gshadow"):
        (tmp_path / "etc" / name).touch()
    found = re.search(
        r"^ARG (SOURCE_DATE_EPOCH=\d+)\nRUN (groupadd .*\n.*)$", LAST_STAGE, re.MULTILINE
    )
    assert found
    prefixed = re.sub(r"(?:group|user)add", rf"\g<0> --prefix {tmp_path}", found[2])
    subprocess.run(["sh", "-c", f"export {found[1]}; {prefixed}"], check=True)
    assert (tmp_path / "etc/shadow").read_text().split(":")[:3] == ["pgsched", "!", "3652"]


def test_the_health_check_tells_a_live_worker_from_none(database: str, tmp_path: Path) -> None:
    """With the variables of the image, but for the port, which others may have here."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert "PGSCHED_MONITORING__PORT=9187" in LAST_STAGE
    check = re.search(r"^HEALTHCHECK .*--timeout=(\d+)s .*CMD (\[.*\])$", LAST_STAGE, re.MULTILINE)
    assert check
    program, *arguments = json.loads(check[2])
    assert program == "pgsched"
    project = Project(tmp_path, database)
    project.monitoring = {"port": port}

    def status() -> int:
        return subprocess.run(
            [sys.executable, "-m", "pgsched", *arguments],
            env={**os.environ, "PGSCHED_CONFIG": str(tmp_path / "pgsched-0.yaml")},
            capture_output=True,
            check=False,
            timeout=int(check[1]) * 4,  # a machine that is busy with other tests
        ).returncode

    with project.client:
        worker = project.worker(number=0)
        try:
            worker.wait_event("reporter.started")
            assert status() == 0
        finally:
            worker.kill_everything()
        assert status() != 0
