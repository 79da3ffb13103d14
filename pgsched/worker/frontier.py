"""Where the next pick begins, and when to look afresh: what lets the cost of a pick stay where it is.

A pick goes on where the last one ended. What may appear behind that place (a transaction that took long, a row somebody
had locked, another program's insert) is found by a survey, made once a second while there is work and before each long
sleep; a notification moves the place back at once.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pgsched.store.picking import Mark
from pgsched.worker.clock import monotonic

if TYPE_CHECKING:
    from pgsched.store.picking import Marks, Survey

SURVEY_S = 1.0
"""While picks are full a survey is made this often: it finds what is more urgent than all that is known."""

SURVEY_SHARE = 20
"""And at most a twentieth of the time is spent on surveys: one may take long when somebody's transaction keeps dead
index entries by the thousand."""


class Frontier:
    """The marks of each priority, the most urgent first, and when the next survey is due."""

    def __init__(self) -> None:
        self._marks: dict[int | None, Mark] = {}
        self._has_ended = True
        self._surveyed_at = -math.inf
        self._took_s = 0.0
        self._coming_at = math.inf

    @property
    def marks(self) -> Marks:
        return self._marks

    @property
    def is_stale(self) -> bool:
        """Whether to survey before the next pick."""
        age_s = monotonic() - self._surveyed_at
        return age_s >= SURVEY_SHARE * self._took_s and (self._has_ended or age_s >= SURVEY_S)

    @property
    def wait_s(self) -> float:
        """After the end was reached: seconds until a survey may be made, or something known to come is due."""
        may_survey_at = self._surveyed_at + SURVEY_SHARE * self._took_s
        return max(0.0, min(may_survey_at, self._coming_at) - monotonic())

    def note_survey(self, survey: Survey, *, took_s: float) -> None:
        """Begin anew where it says that executions are."""
        self._marks = dict(survey.marks)
        self._has_ended = False
        self._surveyed_at = monotonic()
        self._took_s = took_s
        self._coming_at = math.inf if survey.coming_s is None else monotonic() + survey.coming_s

    def go_on(self, marks: Marks) -> None:
        """Look behind what was picked."""
        self._marks.update(marks)

    def note_end(self) -> None:
        """A pick found less than it wanted: there is nothing more from the marks on."""
        self._has_ended = True
        if self._coming_at <= monotonic():
            self._coming_at = math.inf

    def go_back(self, due: float) -> None:
        """Something is there that was due then (seconds of the Unix epoch): look from there on, if not before."""
        for priority, mark in self._marks.items():
            if due < mark.since.timestamp():
                self._marks[priority] = Mark(datetime.fromtimestamp(max(due, 0.0), UTC))
