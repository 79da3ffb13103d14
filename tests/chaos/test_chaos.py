"""A short run of `make chaos`, and one with a guard taken out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def chaos(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chaos", *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_no_promise_is_broken() -> None:
    done = chaos("--seed", "11", "--duration", "15")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"promises broken +0\n", done.stdout)
    runs = re.search(r"runs +(\d+),", done.stdout)
    assert runs is not None
    assert int(runs[1]) > 500


def test_without_beats_the_checker_fails() -> None:
    done = chaos("--seed", "2", "--duration", "4", "--sabotage", "beat", "--kinds", "TERMINATE")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "overlap: " in done.stdout
