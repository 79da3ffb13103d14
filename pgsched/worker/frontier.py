"""Where the next pick begins, and when to look afresh: what lets the cost of a pick stay where it is.

A pick goes on where the last one ended. What may appear behind that place (a transaction that took long, a row somebody
had locked, another program's insert) is found by a survey, made once a second while there is work and before each long
sleep; a notification that says where moves the place back at once, one that doesn't has a survey made.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pgsched.store.listening import ANY_LEVEL, NO_PRIORITY
from pgsched.store.picking import Mark
from pgsched.worker.clock import monotonic

if TYPE_CHECKING:
    from pgsched.store.listening import Hint
    from pgsched.store.picking import Marks, Survey

SURVEY_S = 1.0
"""While picks are full a survey is made this often: it finds what is more urgent than all that is known."""

SURVEY_SHARE = 20
"""And at most a twentieth of the time does the database work on them: one may take long when somebody's transaction
keeps dead index entries by the thousand. The way there and back is no work: who is far is not to be late by it."""

SHARE_IN_THE_DARK = 2
"""But half of it when it has been said that there is something, not where, and no pick has found it."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.005, 0.5
"""When picks find nothing although surveys say that something is due, somebody holds locks on it: surveys pause for
twice as long each time. Mostly another poller is picking it, which takes a millisecond; but it may be an open
transaction.
"""

LONGEST_LEAD_S = 0.005
"""A pick for what comes is sent so much before its time at most: some 0.7 ms pass until the database is at it."""

SPARE_S = 0.0002
"""It is to be there so long after that time: one that comes too early finds nothing, and costs a round trip more."""

LEAD_SMOOTHING = 8
"""One pick weighs so many times less than what was learnt before: a busy moment is not the rule."""

BEGINNING = datetime.min.replace(tzinfo=UTC)
RECENT_S = 1.0
"""What was told of is looked for from its time on only if that is so short a while ago."""

END = datetime.max.replace(tzinfo=UTC, microsecond=0)
END_MARK = Mark(datetime.max.replace(tzinfo=UTC))


class Frontier:
    """The marks of each priority, the most urgent first, and when the next survey is due."""

    def __init__(self) -> None:
        self._marks: dict[int | None, Mark] = {}
        self._has_ended = True
        self._surveyed_at = -math.inf
        self._took_s = 0.0
        self._coming_at = math.inf
        self._coming: datetime | None = None
        self._lead_s = 0.0
        self._pause_s = 0.0
        self._is_in_the_dark = False
        self._is_lost = False

    @property
    def marks(self) -> Marks:
        return self._marks

    @property
    def knows_where(self) -> bool:
        """Whether the marks say where everything is that was told of."""
        return bool(self._marks) and not self._is_lost

    @property
    def is_stale(self) -> bool:
        """Whether to survey before the next pick."""
        if monotonic() < self._may_survey_at:
            return False
        return self._has_ended or monotonic() >= self._surveyed_at + SURVEY_S

    @property
    def coming_s(self) -> float:
        """Seconds until what the last survey saw coming is due; infinite for nothing."""
        return self._coming_at - monotonic()

    @property
    def has_come(self) -> bool:
        """Whether what the last survey saw coming is due by now: the marks say where it is."""
        return bool(self._marks) and self._coming_at <= monotonic()

    @property
    def wait_s(self) -> float:
        """After the end was reached: seconds until a survey may be made, or something known to come is due."""
        return max(0.0, min(self._may_survey_at, self._coming_at) - monotonic())

    def note_survey(self, survey: Survey, *, took_s: float) -> None:
        """Begin anew where it says that executions are."""
        self._marks = dict(survey.marks)
        self._has_ended = self._is_in_the_dark = self._is_lost = False
        self._surveyed_at = monotonic()
        self._took_s = took_s if survey.took_s is None else survey.took_s
        # Counted since the middle of the round trip, less what a pick lately took to get there.
        coming_s = math.inf if survey.coming_s is None else survey.coming_s
        self._coming_at = self._surveyed_at - took_s / 2 + coming_s - self._lead_s
        self._coming = survey.coming

    def go_on(self, marks: Marks) -> None:
        """Look behind what was picked."""
        self._marks.update(marks)
        self._pause_s = 0.0
        self._note_look()

    def note_end(self, found: int) -> None:
        """A pick found less than it wanted: there is nothing more from the marks on."""
        self._has_ended = True
        self._pause_s = 0.0 if found else min(LONGEST_PAUSE_S, 2 * self._pause_s or FIRST_PAUSE_S)
        self._note_look()

    def note_pick(self, at: datetime) -> None:
        """A pick was made at this time by the database's clock. Of one for what the last survey saw coming it is learnt
        how much earlier to ask: what it takes to get there. One that came too early is made again in time.
        """
        if self._coming is None:
            return
        late_s = (at - self._coming).total_seconds()
        if late_s < -LONGEST_LEAD_S:
            # It was not meant for that; or the survey's answer was long under way, and it was far too early.
            self._coming_at = min(self._coming_at, monotonic() - late_s)
            return
        self._coming = None
        if late_s < 0:
            self._lead_s = max(0.0, self._lead_s + late_s - SPARE_S)
            self._coming_at = monotonic() - late_s
            self._pause_s = 0.0  # that it found nothing doesn't mean that somebody has it locked
        elif late_s < LONGEST_LEAD_S:
            self._lead_s += (late_s - SPARE_S) / LEAD_SMOOTHING
            self._lead_s = min(max(0.0, self._lead_s), LONGEST_LEAD_S)

    def note_hint(self, hint: Hint, *, now: float) -> None:
        """Something is there: look from its time on, if not before. `now` is the database's time since the epoch.

        Where that is long ago, a survey finds it: the way from there to now may lead past a million rows of others.
        """
        self._pause_s = 0.0
        mark = Mark(_instant(hint.due))
        if hint.level == ANY_LEVEL:
            self._is_in_the_dark = True
            levels = list(self._marks)
        else:
            levels = [None if hint.level == NO_PRIORITY else int(hint.level)]
        behind = [level for level in levels if mark < self._marks.get(level, END_MARK)]
        if behind and hint.due < now - RECENT_S:
            self._has_ended = self._is_in_the_dark = self._is_lost = True
            return
        self._marks.update(dict.fromkeys(behind, mark))
        self._marks = dict(sorted(self._marks.items(), key=_urgency, reverse=True))

    def _note_look(self) -> None:
        """What has come excuses from a survey once: while picks are full others may wait that no mark knows of."""
        if self.coming_s <= 0:
            self._coming_at = math.inf

    @property
    def _may_survey_at(self) -> float:
        share = SHARE_IN_THE_DARK if self._is_in_the_dark else SURVEY_SHARE
        may_at = self._surveyed_at + max(share * self._took_s, self._pause_s)
        # What comes within moments is waited for first: it would be late by as long as the survey takes.
        return max(may_at, self._coming_at) if self.coming_s <= LONGEST_LEAD_S else may_at


def _urgency(level: tuple[int | None, Mark]) -> float:
    return NO_PRIORITY if level[0] is None else level[0]


def _instant(due: float) -> datetime:
    """Times before the epoch are as good as the beginning."""
    return datetime.fromtimestamp(min(due, END.timestamp()), UTC) if due > 0 else BEGINNING
