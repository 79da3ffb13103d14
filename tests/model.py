"""The table of moves in docs/architecture.md as data and as a model: what the table of executions must look like.

Knows no SQL, no clock and no races: one move after another. tests/store/test_against_the_model.py holds the real store
against it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple


class Move(NamedTuple):
    """From a state, for a cause, to a state."""

    origin: str
    cause: str
    target: str


MOVES = (
    Move("nothing", "schedule", "scheduled"),
    Move("scheduled", "its time comes", "due"),
    Move("due", "pick", "running"),
    Move("running", "succeeded, one-time", "gone"),
    Move("running", "succeeded, recurring", "scheduled"),
    Move("running", "failed, handler retries", "scheduled (retrying)"),
    Move("running", "failed, exhausted, one-time", "failed"),
    Move("running", "failed, exhausted, recurring", "scheduled"),
    Move("running", "released (shutdown, given back)", "due"),
    Move("running", "dead, recovered", "due"),
    Move("running", "dead beside others, recovered", "due"),
    Move("running", "its poller died before it started", "due"),
    Move("running", "dead, crashes at their limit", "failed"),
    Move("scheduled, due", "cancel · reschedule", "gone · scheduled"),
    Move("failed", "retry · discard", "due · gone"),
)


@dataclass(frozen=True)
class Row:
    """What matters of a row: `is_due` stands for its time, `poller` for picked and picked_by."""

    is_due: bool
    data: int | None = None
    version: int = 1
    poller: str | None = None
    failures: int = 0
    crashes: int = 0
    suspicions: int = 0
    is_silent: bool = False


class Claim(NamedTuple):
    """What a poller holds, or believes to hold: the fence."""

    instance: str
    version: int
    poller: str


class Model:
    """The table, and the failed executions with the newest last."""

    def __init__(self, *, max_crashes: int) -> None:
        self.rows: dict[str, Row] = {}
        self.failed: list[tuple[str, int | None]] = []
        self._failed_versions: list[int] = []
        self._max_crashes = max_crashes

    # What clients do

    def schedule(self, instance: str, data: int, *, is_due: bool) -> bool:
        if instance in self.rows:
            return False
        self.rows[instance] = Row(is_due, data)
        return True

    def reschedule(self, instance: str, *, is_due: bool) -> str:
        return self._change(
            instance, lambda row: replace(row, is_due=is_due, version=row.version + 1)
        )

    def cancel(self, instance: str) -> str:
        return self._change(instance, lambda _: None)

    def retry(self, instance: str) -> str:
        found = self._newest_failed(instance)
        if found is None:
            return "not found"
        if instance in self.rows:
            return "exists"
        _, data = self.failed.pop(found)
        self.rows[instance] = Row(
            is_due=True, data=data, version=self._failed_versions.pop(found) + 1
        )
        return "done"

    def discard(self, instance: str) -> str:
        found = self._newest_failed(instance)
        if found is None:
            return "not found"
        self.failed.pop(found)
        self._failed_versions.pop(found)
        return "done"

    # What workers do

    def pick(self, poller: str) -> set[Claim]:
        claims = set()
        for instance, row in self.rows.items():
            if row.is_due and row.poller is None:
                picked = replace(row, poller=poller, version=row.version + 1, is_silent=False)
                self.rows[instance] = picked
                claims.add(Claim(instance, picked.version, poller))
        return claims

    def complete(self, claim: Claim, ending: str) -> str:
        row = self.rows.get(claim.instance)
        if row is None:
            return "vanished"
        if (row.version, row.poller) != (claim.version, claim.poller):
            return "stale"
        free = replace(row, poller=None, version=row.version + 1, is_silent=False)
        match ending:
            case "succeeded, one-time":
                del self.rows[claim.instance]
            case "succeeded, recurring":
                self.rows[claim.instance] = replace(
                    free, is_due=False, failures=0, crashes=0, suspicions=0
                )
            case "failed, handler retries":
                failures = row.failures + 1
                self.rows[claim.instance] = replace(
                    free, is_due=False, failures=failures, crashes=0, suspicions=0
                )
            case "failed, exhausted, one-time":
                self._bury(claim.instance)
            case "released":
                self.rows[claim.instance] = free
        return "changed"

    def go_silent(self, poller: str) -> None:
        for instance, row in self.rows.items():
            if row.poller == poller:
                self.rows[instance] = replace(row, is_silent=True)

    def beat(self, poller: str) -> int:
        mine = [instance for instance, row in self.rows.items() if row.poller == poller]
        for instance in mine:
            self.rows[instance] = replace(self.rows[instance], is_silent=False)
        return len(mine)

    def recover_dead(self) -> set[str]:
        dead = {
            instance: row.poller
            for instance, row in self.rows.items()
            if row.is_silent and row.poller
        }
        pollers = list(dead.values())
        guilty = {
            instance
            for instance, poller in dead.items()
            if pollers.count(poller) == 1 or self.rows[instance].suspicions >= 2
        }
        return self._recover(set(dead), guilty)

    def recover_of(self, poller: str, started: set[str]) -> set[str]:
        """A poller that died, and what it was running; the rest of what it held is as it was."""
        held = {instance for instance, row in self.rows.items() if row.poller == poller}
        suspects = held & started
        for instance in held - suspects:
            self._free(instance)
        return self._recover(suspects, suspects if len(suspects) == 1 else set()) | held

    def release_of(self, poller: str) -> int:
        held = [instance for instance, row in self.rows.items() if row.poller == poller]
        for instance in held:
            self._free(instance)
        return len(held)

    def _free(self, instance: str) -> None:
        row = self.rows[instance]
        self.rows[instance] = replace(row, poller=None, version=row.version + 1, is_silent=False)

    def _recover(self, suspects: set[str], guilty: set[str]) -> set[str]:
        for instance in suspects:
            row = self.rows[instance]
            crashes = row.crashes + (instance in guilty)
            if instance in guilty and crashes >= self._max_crashes:
                self._bury(instance)
                continue
            self._free(instance)
            freed = self.rows[instance]
            self.rows[instance] = replace(freed, crashes=crashes, suspicions=row.suspicions + 1)
        return suspects

    def _bury(self, instance: str) -> None:
        row = self.rows.pop(instance)
        self.failed.append((instance, row.data))
        self._failed_versions.append(row.version + 1)

    def _change(self, instance: str, change: object) -> str:
        row = self.rows.get(instance)
        if row is None:
            return "not found"
        if row.poller is not None:
            return "running"
        assert callable(change)
        changed = change(row)
        if changed is None:
            del self.rows[instance]
        else:
            self.rows[instance] = changed
        return "done"

    def _newest_failed(self, instance: str) -> int | None:
        found = [index for index, (name, _) in enumerate(self.failed) if name == instance]
        return found[-1] if found else None
