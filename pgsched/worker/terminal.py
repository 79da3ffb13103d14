"""Whether this process has a terminal that could be closed: who asks for what with SIGHUP depends on it."""

from __future__ import annotations

import os


def has_terminal() -> bool:
    """False for what never had one, and once it is closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
