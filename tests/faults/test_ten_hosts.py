"""Many hosts, one Postgres with a standby: what becomes of the work when one host is cut off and the primary dies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.ten_hosts import HOSTS, IN_QUARANTINE, NO_HOSTS, SILENT


def test_ten_hosts_lose_nothing_over_a_promotion_with_one_of_them_cut_off(tmp_path: Path) -> None:
    """Only what the silent host had is run again: everybody else thought it dead, and it was."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.ten_hosts", str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if done.stderr.startswith(NO_HOSTS):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["sure"] >= 4 * 200
    assert facts["lost"] == []
    assert all(SILENT in hosts for hosts in facts["repeated"].values())
    assert facts["stale"] >= len(facts["repeated"]) > 0
    assert facts["hosts"] == [IN_QUARANTINE, *range(HOSTS)]
    assert facts["died"] == 0
    assert facts["after_the_cut"] > 0
