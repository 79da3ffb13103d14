"""Where the next pick begins, by what surveys and hints have said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pgsched.store.listening import ANY_LEVEL, NO_PRIORITY, NOW, Hint
from pgsched.store.picking import Mark, Survey
from pgsched.worker import frontier as frontiers
from pgsched.worker.frontier import Frontier

LATER = datetime(2026, 3, 1, 12, tzinfo=UTC)
EARLIER = LATER - timedelta(minutes=1)
NOON = EARLIER.timestamp()


def surveyed(*levels: int | None, took_s: float = 0.0) -> Frontier:
    frontier = Frontier()
    marks = {level: Mark(LATER, 7) for level in levels}
    frontier.note_survey(Survey(marks, is_any_due=bool(levels), coming_s=None), took_s=took_s)
    return frontier


def test_a_hint_that_says_where_makes_a_mark_in_its_rank() -> None:
    frontier = surveyed(5, 1)
    for level in (3, NO_PRIORITY, 9):
        frontier.note_hint(Hint(EARLIER.timestamp(), level), now=NOON)
    assert list(frontier.marks.items()) == [
        (9, Mark(EARLIER)),
        (5, Mark(LATER, 7)),
        (3, Mark(EARLIER)),
        (1, Mark(LATER, 7)),
        (None, Mark(EARLIER)),
    ]


def test_a_mark_goes_back_and_never_on() -> None:
    frontier = surveyed(1, 2)
    frontier.note_hint(Hint((LATER + timedelta(hours=1)).timestamp(), 1), now=NOON)
    frontier.note_hint(Hint(EARLIER.timestamp(), 2), now=NOON)
    assert frontier.marks == {1: Mark(LATER, 7), 2: Mark(EARLIER)}


def test_a_hint_that_does_not_say_where_moves_every_mark_back() -> None:
    frontier = surveyed(1, None)
    frontier.note_hint(Hint(EARLIER.timestamp()), now=NOON)
    assert set(frontier.marks.values()) == {Mark(EARLIER)}


@pytest.mark.parametrize("level", [ANY_LEVEL, NO_PRIORITY, 1.0, 7.0])
def test_what_was_due_long_ago_is_found_by_a_survey(level: float) -> None:
    """A pick from there on would pass all that is due since and not ours."""
    frontier = surveyed(1, None)
    frontier.note_hint(Hint(EARLIER.timestamp(), level), now=LATER.timestamp())
    assert set(frontier.marks.values()) == {Mark(LATER, 7)}
    assert frontier.is_stale
    assert not frontier.knows_where
    frontier.note_survey(Survey({None: Mark(EARLIER)}, is_any_due=True, coming_s=None), took_s=0.0)
    assert frontier.knows_where


def test_what_a_pick_will_come_to_anyway_needs_no_survey() -> None:
    frontier = surveyed(1, None)
    frontier.note_hint(Hint(LATER.timestamp() + 60, ANY_LEVEL), now=LATER.timestamp() + 3600)
    assert frontier.knows_where
    assert not frontier.is_stale


def test_a_hint_of_any_time_is_a_place() -> None:
    frontier = surveyed()
    frontier.note_hint(Hint(1e12 - 1, 1), now=NOON)
    frontier.note_hint(Hint(-1e12 + 1, 2), now=-1e12)
    assert frontier.marks[1].since.year == 9999
    assert frontier.marks[2].text == "-infinity"


def test_after_a_long_survey_the_next_waits_but_not_as_long_once_something_is_said_to_be_there() -> (
    None
):
    frontier = surveyed(took_s=60.0)
    frontier.note_end(0)
    assert not frontier.is_stale
    assert 600 < frontier.wait_s <= 1200
    frontier.note_hint(NOW, now=NOON)
    assert 60 < frontier.wait_s <= 120


def test_a_survey_is_as_long_as_the_database_took_and_not_as_the_way_to_it() -> None:
    """Else a poller far away, which surveys after each pick, sleeps past what comes next."""
    frontier = Frontier()
    found = Survey({None: Mark(LATER)}, is_any_due=True, coming_s=None, took_s=0.0)
    frontier.note_survey(found, took_s=60.0)
    frontier.note_end(1)
    assert frontier.is_stale


def test_what_has_come_puts_off_one_survey_and_not_all_while_picks_are_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a backlog hides what is more urgent, and what nobody notified of, until all of it is done."""
    monkeypatch.setattr(frontiers, "SURVEY_S", 0.0)
    frontier = Frontier()
    survey = Survey({None: Mark(EARLIER)}, is_any_due=True, coming_s=-0.001)
    frontier.note_survey(survey, took_s=0.0)
    assert frontier.has_come
    frontier.go_on({None: Mark(LATER)})
    assert frontier.is_stale
    assert not frontier.has_come


def test_what_somebody_has_locked_is_looked_for_less_and_less_until_there_is_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a due row in somebody's open transaction costs each poller 34 transactions a second."""
    now = 0.0
    monkeypatch.setattr(frontiers, "monotonic", lambda: now)
    frontier = Frontier()
    looks = 0
    while now < 10.0:
        frontier.note_survey(
            Survey({None: Mark(EARLIER)}, is_any_due=True, coming_s=None), took_s=0.001
        )
        frontier.note_end(0)
        assert not frontier.is_stale
        now += frontier.wait_s
        assert frontier.is_stale
        looks += 1
    assert looks < 30
    frontier.note_survey(
        Survey({None: Mark(EARLIER)}, is_any_due=True, coming_s=None), took_s=0.001
    )
    frontier.note_end(0)
    assert frontier.wait_s == frontiers.LONGEST_PAUSE_S
    frontier.note_hint(NOW, now=NOON)
    assert frontier.wait_s <= frontiers.SURVEY_SHARE * 0.001


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> Frontier:
    """One for which no time passes."""
    monkeypatch.setattr(frontiers, "monotonic", lambda: 1000.0)
    return Frontier()


def asked_for(frontier: Frontier, late_s: float) -> None:
    """A survey saw something coming, and the pick for it was so late by the database's clock."""
    frontier.note_survey(
        Survey({None: Mark(EARLIER)}, is_any_due=False, coming_s=60.0, coming=LATER), took_s=0.0
    )
    frontier.note_end(0)
    frontier.note_pick(LATER + timedelta(seconds=late_s))


def lead_s(frontier: Frontier) -> float:
    frontier.note_survey(
        Survey({None: Mark(EARLIER)}, is_any_due=False, coming_s=60.0, coming=LATER), took_s=0.0
    )
    return 60.0 - frontier.coming_s


def test_what_comes_is_asked_for_as_much_earlier_as_the_question_takes(still: Frontier) -> None:
    for _ in range(100):
        asked_for(still, 0.001 - lead_s(still))
    assert lead_s(still) == pytest.approx(0.001 - frontiers.SPARE_S, abs=1e-5)


def test_who_asked_too_early_asks_again_in_time_and_not_so_early_the_next_time(
    still: Frontier,
) -> None:
    for _ in range(100):
        asked_for(still, 0.002)
    before_s = lead_s(still)
    asked_for(still, -0.001)
    assert 0 < still.coming_s <= 0.001
    assert lead_s(still) == pytest.approx(before_s - 0.001 - frontiers.SPARE_S, abs=1e-5)


def test_who_asked_too_early_makes_no_survey_first(
    still: Frontier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without, it was one: the last was made before a long sleep, so another may be made at once."""
    still.note_survey(
        Survey({None: Mark(EARLIER)}, is_any_due=False, coming_s=60.0, coming=LATER), took_s=0.001
    )
    monkeypatch.setattr(frontiers, "monotonic", lambda: 1060.0)
    still.note_end(0)
    still.note_pick(LATER - timedelta(seconds=0.0005))
    assert not still.is_stale
    assert still.wait_s == pytest.approx(0.0005)
    monkeypatch.setattr(frontiers, "monotonic", lambda: 1060.001)
    assert still.has_come
    still.note_end(1)
    assert still.is_stale


def test_who_asked_too_early_does_not_take_what_comes_for_locked(
    still: Frontier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without, each of it counted twice, and surveys soon paused for as long as if somebody held it for long."""
    asked_for(still, -0.001)
    monkeypatch.setattr(frontiers, "monotonic", lambda: 1000.001)
    still.note_end(0)  # another poller was quicker
    assert still.wait_s == pytest.approx(frontiers.FIRST_PAUSE_S - 0.001)


def test_who_asked_far_too_early_asks_again_in_time_all_the_same(still: Frontier) -> None:
    """Without, it was left to the next survey: for 20 times as long as the last one had taken."""
    still.note_survey(
        Survey({None: Mark(EARLIER)}, is_any_due=False, coming_s=0.025, coming=LATER), took_s=0.05
    )
    still.note_end(0)
    still.note_pick(LATER - timedelta(seconds=0.025))
    assert still.wait_s == pytest.approx(0.025)


def test_a_pick_that_was_not_for_what_comes_teaches_nothing(still: Frontier) -> None:
    for late_s in (-60.0, 1.0):
        asked_for(still, late_s)
    assert lead_s(still) == pytest.approx(0.0)
