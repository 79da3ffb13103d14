"""The process that owns an embedded server: starts it, waits until nobody uses it, stops it.

Started by server.py alone, detached. The server dies with it: Linux sends it SIGINT should the keeper be killed.
Never touches a process but its own child.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from setproctitle import setproctitle

from pgsched.embedded.account import Account
from pgsched.embedded.home import PORT, Home

if TYPE_CHECKING:
    from collections.abc import Callable

SETTINGS = {
    "shared_buffers": "128MB",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "cluster_name": "pgsched",  # for ps
    "listen_addresses": "",  # nobody but its own account gets in; only whoever starts it in code can say otherwise
}

STOPPING = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
"""Fast, at once, by force: each signal, and the seconds it is given."""

LOG_LIMIT_BYTES = 5_000_000
"""Then the log is set aside, and the one set aside before is gone."""

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Keep the server of a folder until its last user is gone."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    if os.fork():
        os._exit(0)  # so that the keeper is no caller's child: nobody has to wait for it
    setproctitle(f"pgsched: embedded keeper of {order['folder']}")
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # a caller may have blocked what we need
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    home = Home(Path(order["folder"]))
    server = _start(home, order)
    signal.signal(signal.SIGTERM, lambda *_: server.send_signal(signal.SIGINT))
    has_ended, is_unused = threading.Event(), threading.Event()
    threading.Thread(
        target=_stop_when_unused, args=(home, server, has_ended, is_unused), daemon=True
    ).start()
    assert server.stdout is not None
    _copy_log(server.stdout.fileno(), home.log)
    server.wait()
    has_ended.set()
    # If it ended in another way, its users may still look for the next one at the same place.
    if is_unused.is_set():
        with suppress(OSError):
            Path(order["sockets"]).rmdir()
    os._exit(0)  # the thread may wait for the lock still


def _start(home: Home, order: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Postgres as our child, which holds the server's lock with us, so that it outlasts a kill of the keeper."""
    account = Account.of_server()
    settings = {
        **SETTINGS,
        **order["settings"],
        "port": str(PORT),
        "unix_socket_directories": order["sockets"],
        "logging_collector": "off",
    }
    with account.reach(home.data) as (name, files):
        options = [f"--{key}={value}" for key, value in settings.items()]
        return subprocess.Popen(
            [order["program"], "-D", name, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[order["lock"], *files],
            preexec_fn=_dying_with(os.getpid()),  # noqa: PLW1509 there are no threads yet
            **account.process_options(),
        )


def _dying_with(keeper: int) -> Callable[[], None]:
    """For between fork and exec; after the change of account, which would undo it."""
    if sys.platform != "linux":
        return lambda: None
    prctl = ctypes.CDLL(None).prctl

    def run() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != keeper:  # killed before we asked
            os._exit(1)

    return run


def _stop_when_unused(
    home: Home,
    server: subprocess.Popen[bytes],
    has_ended: threading.Event,
    is_unused: threading.Event,
) -> None:
    """Wait for the last user. The lock is kept to the end: who comes now waits until this server is down."""
    users = os.open(home.users_lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(users, fcntl.LOCK_EX)
    is_unused.set()
    for number, patience_s in STOPPING:
        server.send_signal(number)
        if has_ended.wait(patience_s):
            return


def _copy_log(source: int, log: Path) -> None:
    """Until all processes of the server have ended. The log is our standard error, too."""
    while text := os.read(source, 65536):
        with suppress(OSError):  # a full disk is the server's to complain about
            os.write(2, text)
            if os.fstat(2).st_size > LOG_LIMIT_BYTES:
                log.replace(log.with_name(f"{log.name}.1"))
                fresh = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                os.dup2(fresh, 1)
                os.dup2(fresh, 2)
                os.close(fresh)
