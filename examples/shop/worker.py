"""One `pgsched worker` as a process of the demo's own: its log as events, and nothing left of it afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PATIENCE_S = 12.0
"""A little more than the shutdown_timeout in pgsched.yaml."""


class Worker:
    """Runs within its `with`, in a process group of its own: Ctrl-C reaches the demo alone, which then stops it."""

    def __init__(self, config: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pgsched", "worker", "--config", config],
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def events(self) -> Iterator[dict[str, Any]]:
        """What it logs, until it has ended; lines that are no events are passed on."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            try:
                event = json.loads(line)
            except ValueError:
                sys.stderr.write(line)
            else:
                yield event

    def ask_to_stop(self) -> None:
        self._process.terminate()

    def exit_status(self) -> int:
        return self._process.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it if it still runs. What a killed supervisor left behind is in its group, and ends with it."""
        self._process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.communicate(timeout=PATIENCE_S)
        finally:  # a second Ctrl-C leads here at once
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
