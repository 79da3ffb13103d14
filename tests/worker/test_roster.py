"""What a supervisor tells of its pollers reaches the housekeeper, whole and in order."""

from __future__ import annotations

from pgsched.worker.process import new_pipe
from pgsched.worker.roster import REMEMBERED_ENDS, End, Ended, Member, Orders, Roster


def test_the_ends_of_many_pollers_are_told_one_by_one_and_remembered_together() -> None:
    pipe = new_pipe()
    orders = Orders(pipe.reading, Roster((), (Ended("first", End.KILLED),)))
    ended = [Ended(str(n), End.DIED, tuple(range(3000)), "SIGKILL") for n in range(10)]
    for each in ended:
        assert Roster((Member("new", 1, 0),), (each,)).tell(pipe.writing)
        orders.take()
    assert orders.roster == Roster((Member("new", 1, 0),), (Ended("first", End.KILLED), *ended))
    pipe.close()


def test_several_words_that_come_together_all_count() -> None:
    pipe = new_pipe()
    orders = Orders(pipe.reading, Roster())
    names = [str(n) for n in range(REMEMBERED_ENDS + 1)]
    for name in names:
        assert Roster((), (Ended(name, End.IN_ORDER),)).tell(pipe.writing)
    orders.take()
    assert [each.identity for each in orders.roster.ended] == names[1:]
    pipe.close()
