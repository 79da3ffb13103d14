"""Tells whoever asks over HTTP how the worker fares: `/livez`, `/readyz`, `/metrics`.

A process of its own, so that neither a task nor a stranger at the port can keep the others from working. Reads the
memory that they share and asks the database for the rest; never writes to either but for a lease.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from pgsched.log import Event, Logger
from pgsched.worker.board import Moment
from pgsched.worker.clock import monotonic
from pgsched.worker.exposition import counted, exposition, present, sampled
from pgsched.worker.page import Page, Server, Site
from pgsched.worker.probing import Probing
from pgsched.worker.process import EXIT_OK, RETIRE, Signals
from pgsched.worker.readiness import liveness, readiness
from pgsched.worker.wakeup import readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsched.worker.board import Board
    from pgsched.worker.plan import Plan
    from pgsched.worker.readiness import Check
    from pgsched.worker.tally import Tally

LONGEST_TURN_S = 5.0
PORT_PAUSES_S = (0.5, 1.0, 2.0, 5.0)
"""Before the port is tried again: whoever has it may let it go."""


class Reported(NamedTuple):
    """What a reporter is given to read, made before the first fork; `board` is its own, to write."""

    board: Board
    supervisor: Board
    pollers: Sequence[Board]
    tallies: Sequence[Tally]
    holder: str
    """What it calls itself where only one worker is to do a thing."""


class Reporter:
    """The main thread keeps asking the database; others answer those who ask here."""

    def __init__(self, plan: Plan, reported: Reported, lifeline: int) -> None:
        assert plan.monitoring is not None
        self._plan = plan
        self._monitoring = plan.monitoring
        self._reported = reported
        self._lifeline = lifeline
        self._log = Logger()
        # It ends with its supervisor, after all others: a signal to the whole group must not end it.
        ignored = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)
        self._signals = Signals((RETIRE,), ignored)
        self._probing = Probing(plan, reported.holder)
        self._server: Server | None = None
        self._tries = 0
        self._next_try_at = 0.0

    def run(self) -> int:
        """Run until the supervisor is gone or has nobody else left, or another generation is to have the port."""
        while not readable([self._lifeline, self._signals.bell.fileno()], self._wait_s()):
            if self._server is None and self._next_try_at <= monotonic():
                self._listen()
            self._probing.turn()
            self._reported.board.note(Moment.TURNED, monotonic())
        self._probing.end()
        return EXIT_OK

    def _wait_s(self) -> float:
        waits = [LONGEST_TURN_S, self._probing.wait_s]
        if self._server is None:
            waits.append(self._next_try_at - monotonic())
        return max(0.0, min(waits))

    def _listen(self) -> None:
        where = {"host": self._monitoring.host, "port": self._monitoring.port}
        try:
            self._server = Server(self._monitoring.host, self._monitoring.port, self._site())
        except OSError as error:
            if not self._tries:
                self._log.error(Event.PORT_REFUSED, **where, error=str(error))
            self._next_try_at = (
                monotonic() + PORT_PAUSES_S[min(self._tries, len(PORT_PAUSES_S) - 1)]
            )
            self._tries += 1
            return
        threading.Thread(
            target=self._server.serve_forever, name="pgsched-http", daemon=True
        ).start()
        where["port"] = self._server.server_address[1]
        self._log.info(Event.REPORTER_STARTED, pid=os.getpid(), **where)

    def _site(self) -> Site:
        pages = {"/livez": self._livez, "/readyz": self._readyz, "/metrics": self._metrics}
        return Site(pages, guarded="/metrics", token=self._monitoring.token)

    def _livez(self, _accept: str) -> Page:
        stall_timeout_s = self._plan.stall_timeout.total_seconds()
        return _told(liveness(self._reported.supervisor, self._reported.pollers, stall_timeout_s))

    def _readyz(self, _accept: str) -> Page:
        probe = self._probing.last
        return _told(readiness(self._reported.supervisor, self._reported.pollers, probe))

    def _metrics(self, accept: str) -> Page:
        boards = self._reported.supervisor, self._reported.pollers
        concurrency = self._plan.concurrency
        numbers = {
            **counted(self._reported.tallies),
            **present(*boards, self._probing.last, concurrency=concurrency),
            **sampled(self._probing.sample),
        }
        return Page(HTTPStatus.OK, *exposition(numbers, accept))


def _told(checks: Sequence[Check]) -> Page:
    is_ok = all(check.is_ok for check in checks)
    document = {
        "ok": is_ok,
        "checks": {check.name: {"ok": check.is_ok, "detail": check.detail} for check in checks},
    }
    status = HTTPStatus.OK if is_ok else HTTPStatus.SERVICE_UNAVAILABLE
    return Page(status, f"{json.dumps(document)}\n".encode())
