"""The process that owns an embedded server: starts it, waits until nobody uses it, stops it.

Run as `python -m pgsched.embedded.keeper FOLDER SETTINGS`, by server.py alone. The server dies with it: Linux sends it
SIGINT should the keeper be killed.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from setproctitle import setproctitle

from pgsched.embedded.binaries import Binaries, can_reach, find_binaries, reachable_by
from pgsched.embedded.home import Home, account
from pgsched.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTINGS = {
    "listen_addresses": "",  # the socket's folder is private; nobody else on the machine can connect
    "shared_buffers": "128MB",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}

LOOK_S = 0.1
STOP_PATIENCE_S = 10.0
PR_SET_PDEATHSIG = 1
WALKS_NOT_BACK = 16


def main(folder: str, settings: str) -> int:
    """Keep the server of a folder until its last user is gone."""
    setproctitle(f"pgsched: keeper of {folder}")
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    home = Home(Path(folder), find_binaries())
    lock = os.open(home.keeper_lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    _end_leftover(home)
    sockets = Path(tempfile.mkdtemp(prefix="pgsched-", dir="/tmp"))
    try:
        _keep(home, sockets, {**SETTINGS, **json.loads(settings)})
    finally:
        shutil.rmtree(sockets, ignore_errors=True)
    return 0


def _keep(home: Home, sockets: Path, settings: Mapping[str, str]) -> None:
    lent = account()
    binaries = home.binaries
    if lent is not None:
        binaries = reachable_by(binaries, lent.pw_uid)
        os.chown(sockets, lent.pw_uid, lent.pw_gid)
    _make_data(home, binaries)
    with home.server_log.open("wb") as log:
        options = [f"--{name}={value}" for name, value in settings.items()]
        options.append(f"--unix_socket_directories={sockets}")
        command = [binaries.program("postgres"), "-D", _here(home.data, binaries), *options]
        server = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 the keeper has no threads
            **_as_account(home.data),
        )
    home.socket_note.write_text(str(sockets), encoding="utf-8")
    users = os.open(home.users_lock, os.O_RDWR | os.O_CREAT, 0o600)
    signal.signal(signal.SIGTERM, lambda *_: server.send_signal(signal.SIGINT))
    while server.poll() is None and not _has_no_users(users):
        time.sleep(LOOK_S)
    _stop(server)


def _has_no_users(users: int) -> bool:
    """Take the exclusive lock and keep it: who comes now waits until this server is down, and starts another."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stop(server: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if server.poll() is not None:
            return
        server.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(STOP_PATIENCE_S)


def _make_data(home: Home, binaries: Binaries) -> None:
    """Initdb beside the place and rename: one that was interrupted leaves nothing that looks whole."""
    if home.data.exists():
        return
    fresh = home.folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    lent = account()
    if lent is not None:
        os.chown(fresh, lent.pw_uid, lent.pw_gid)
    locale = ["--locale=C"]
    if binaries.major >= 17:  # before, C.UTF-8 is the machine's to have or not
        locale = ["--locale-provider=builtin", "--locale=C.UTF-8"]
    # Trust, as the only way in is a socket in a folder of the server's own account, mode 0700.
    options = [
        "--auth=trust",
        "--username=postgres",
        "--encoding=UTF8",
        "--no-sync",
        "--no-instructions",
    ]
    command = [binaries.program("initdb"), "-D", _here(fresh, binaries), *options, *locale]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, **_as_account(fresh)
    )
    if done.returncode:
        raise EmbeddedServerError(f"initdb failed: {' '.join(done.stderr.split())[-500:]}")
    fresh.rename(home.data)


def _here(folder: Path, binaries: Binaries) -> str:
    """How a server is told its data folder. Root's account may not be able to walk there (below /root, say): its own
    working directory, which it inherits, needs no walk. Before 16 the programs walk back to where they started.
    """
    lent = account()
    if lent is None or can_reach(folder, lent.pw_uid):
        return str(folder)
    if binaries.major < WALKS_NOT_BACK:
        raise EmbeddedServerError(
            f"Postgres {binaries.major} runs as {lent.pw_name}, who can't reach {folder}: choose another folder"
        )
    return "/proc/self/cwd"


def _as_account(folder: Path) -> dict[str, Any]:
    lent = account()
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"}
    if lent is None:
        return {"cwd": folder, "env": environment}
    return {
        "cwd": folder,
        "env": environment,
        "user": lent.pw_uid,
        "group": lent.pw_gid,
        "extra_groups": [],
    }


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def _end_leftover(home: Home) -> None:
    """A server whose keeper was killed: end it. A note of one that is long gone must not stop the next."""
    note = home.data / "postmaster.pid"
    try:
        pid = int(note.read_text(encoding="ascii").split("\n", 1)[0])
    except (OSError, ValueError):
        return
    deadline = time.monotonic() + STOP_PATIENCE_S
    while _is_postgres(pid) and time.monotonic() < deadline:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        time.sleep(LOOK_S)
    if not _is_postgres(pid):
        note.unlink(missing_ok=True)


def _is_postgres(pid: int) -> bool:
    """Whether this is a server: after a power cut the number may be anybody's."""
    if Path("/proc/self/comm").exists():
        with suppress(OSError):
            return "postgres" in Path(f"/proc/{pid}/comm").read_text(encoding="utf-8")
        return False
    shown = subprocess.run(
        ["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return "postgres" in shown.stdout


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except EmbeddedServerError as error:
        sys.exit(error.reason)
