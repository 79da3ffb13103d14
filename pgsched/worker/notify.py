"""Tells the service manager how the worker fares: systemd's `sd_notify`, without its library.

Never fails and never waits for long: a worker must run as well where nobody listens. Never clears `NOTIFY_SOCKET`:
whether children may still see it is the caller's choice (`NotifyAccess=main` ignores them in any case).
Source of the protocol: sd_notify(3).
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

PATIENCE_S = 1.0
"""The manager's queue may be full for a moment; beyond that the news is not worth a stalled supervisor."""


def notify(state: str) -> None:
    """Send one state, such as `READY=1` or `STOPPING=1`, to the socket that `NOTIFY_SOCKET` names.

    Several assignments go in one call, a line each. Does nothing where the variable is unset or empty.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # how an abstract socket is written in a variable
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(PATIENCE_S)
        manager.connect(address)
        manager.send(state.encode())
