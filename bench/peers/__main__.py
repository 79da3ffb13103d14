"""`make bench-peers`: pgsched beside its peers, each installed in an environment of its own, all on one server.

Round after round, each in turn, on a fresh database each: what changes on the machine meanwhile changes it for all.
What will not run stays in the table, with what it said.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from bench import bare
from bench.figures import Figure, as_json, percentiles
from bench.machine import machine
from bench.peers.environment import WillNotRun, command_of, last_line
from bench.peers.field import PEERS
from bench.peers.race import Racer
from bench.server import database

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.peers.field import Peer
    from bench.server import Database

RESULTS = Path(".bench/results")
BARE = "bare SQL loop"
BARE_EXECUTIONS = 100_000
LATENESS_COUNT, LATENESS_PAUSE_S = 200, 0.03
SINGLES = 1000


class Entrant:
    """A peer, its figures so far, and why it is out if it is."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.figures: dict[str, Figure] = {}
        self.said: str | None = None
        self._racer: Racer | None = None

    def prepare(self, server: str) -> None:
        self.attempt(lambda: self._install(server))

    def _install(self, server: str) -> None:
        self._racer = Racer(self.peer, command_of(self.peer), server)

    def attempt(self, measure: Callable[[], None]) -> None:
        if self.said is None:
            try:
                measure()
            except (WillNotRun, psycopg.Error, subprocess.SubprocessError) as error:
                self.said = last_line(str(error))
                print(f"{self.peer.name}: {error}", flush=True)

    def drain(self) -> None:
        racer = self._racer
        assert racer
        drained, enqueued = racer.drain("noop", self.peer.executions)
        self._note("drain", "/s", drained)
        self._note("enqueue, in bulk", "/s", enqueued)
        if self.peer.has_def:
            self._note("drain, def", "/s", racer.drain("noop-def", self.peer.executions)[0])

    def measure_lateness(self) -> None:
        racer = self._racer
        assert racer
        self._note("enqueue, one by one", "/s", racer.singles(SINGLES))
        late_ms = racer.lateness(LATENESS_COUNT, LATENESS_PAUSE_S)
        for figure in percentiles("lateness", late_ms):
            self._note(figure.name, "ms", figure.median)

    def _note(self, name: str, unit: str, value: float) -> None:
        self.figures.setdefault(name, Figure(name, unit)).runs.append(value)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.peers", description=__doc__)
    parser.add_argument("--only", default="", help="peers by name, with commas")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    wanted = arguments.only.split(",") if arguments.only else [peer.name for peer in PEERS]
    entrants = [Entrant(peer) for peer in PEERS if peer.name in wanted]
    with database() as opened:
        for entrant in entrants:
            entrant.prepare(opened.conninfo)
        limit = Figure(BARE, "/s")
        for _ in range(arguments.rounds):
            limit.runs.append(_bare(opened))
            for entrant in entrants:
                entrant.attempt(entrant.drain)
                entrant.attempt(entrant.measure_lateness)
        print(_table(limit, entrants))
        results = {entrant.peer.name: _as_json(entrant) for entrant in entrants}
        results[BARE] = {"figures": as_json([limit])}
        RESULTS.mkdir(parents=True, exist_ok=True)
        file = RESULTS / f"peers-{datetime.now(UTC):%Y-%m-%dT%H%M%S}.json"
        file.write_text(json.dumps({"machine": machine(opened), "results": results}, indent=2))
        print(f"written to {file}")


def _bare(opened: Database) -> float:
    opened.refill("bare", BARE_EXECUTIONS)
    return bare.drain(opened.conninfo, BARE_EXECUTIONS)


COLUMNS = (
    "drain",
    "drain, def",
    "enqueue, in bulk",
    "enqueue, one by one",
    "lateness, p50",
    "lateness, p99",
)


def _table(limit: Figure, entrants: list[Entrant]) -> str:
    heads = ["", *(f"{column}, {'ms' if 'late' in column else '/s'}" for column in COLUMNS)]
    lines = [
        "| " + " | ".join(heads) + " | settings |",
        "|---|" + "---:|" * len(COLUMNS) + "---|",
        f"| {BARE} | {limit.median:,.0f} |" + " |" * len(COLUMNS),
    ]
    for entrant in entrants:
        cells = [_cell(entrant.figures.get(column)) for column in COLUMNS]
        said = f"; **did not run: {entrant.said}**" if entrant.said else ""
        lines.append(
            f"| {entrant.peer.name} | {' | '.join(cells)} | {entrant.peer.settings}{said} |"
        )
    return "\n".join(lines)


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    return f"{figure.median:,.0f}" if figure.unit == "/s" else f"{figure.median:.1f}"


def _as_json(entrant: Entrant) -> dict[str, object]:
    return {
        "requirement": entrant.peer.requirement,
        "settings": entrant.peer.settings,
        "executions": entrant.peer.executions,
        "said": entrant.said,
        "figures": as_json(list(entrant.figures.values())),
    }


if __name__ == "__main__":
    main()
