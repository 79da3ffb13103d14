"""What is let go, and when, as the connection breaks in the middle of a write."""

from __future__ import annotations

import logging
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from pgsched import one_time
from pgsched.domain.completion import Decided, Delete, Reschedule
from pgsched.domain.execution import Held, NewExecution
from pgsched.domain.mask import NO_MASK
from pgsched.domain.outcome import SUCCEEDED, Failed, Finished
from pgsched.errors import DatabaseUnavailable
from pgsched.log import Logger
from pgsched.store.completing import Writer
from pgsched.store.session import Database, Session
from pgsched.store.statement import Names
from pgsched.worker.clock import Clock
from pgsched.worker.completer import Completer
from pgsched.worker.guard import Guard
from pgsched.worker.run import Run
from pgsched.worker.telling import Teller
from tests.store.acting import REFUSE, Store
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgsched.store.completing import Receipt

BREAK_ONCE = """
create sequence breaks;
create function break_connection() returns trigger language plpgsql as $$
begin
  if old.task_instance = 'plain' and nextval('breaks') = 1 then
    perform pg_terminate_backend(pg_backend_pid());
  end if;
  return old;
end $$;
create trigger breaks before delete on scheduled_tasks for each row execute function break_connection();
"""


@one_time("t")
def nothing() -> None: ...


def test_what_was_written_before_the_connection_broke_is_let_go_once_and_the_rest_when_it_is_written(
    database: str,
) -> None:
    session = Session(Database(database, Names()), "test", Guard())
    with capture_logs() as told, closing(session), Store(database) as store:
        store.schedule("plain", "with-followup")
        plain, other = sorted(store.pick(), key=lambda held: held.task_instance)
        store.connection.execute(BREAK_ONCE)
        gone: list[Held] = []
        completer = completer_of(session, gone.append)
        completer.add([succeeded(plain), succeeded(other, NewExecution("t", "child"))])
        with pytest.raises(DatabaseUnavailable):
            completer.write()
        assert (gone, len(completer)) == ([other], 1)
        completer.write()
        assert (gone, len(completer)) == ([other, plain], 0)
        assert [row["task_instance"] for row in store.rows()] == ["child"]
        assert [line["event"] for line in told] == ["execution.completed"] * 2


def test_what_is_refused_in_every_form_waits_and_keeps_back_no_other(database: str) -> None:
    """Its poller took that for a lost database, wrote nothing more and picked nothing more."""
    session = Session(Database(database, Names()), "test", Guard())
    with capture_logs() as told, closing(session), Store(database) as store:
        store.schedule("refused", "written")
        written, refused = sorted(store.pick(), key=lambda held: held.task_instance, reverse=True)
        store.connection.execute(REFUSE)
        gone: list[Held] = []
        completer = completer_of(session, gone.append)
        completer.add([failed(refused), failed(written)])
        completer.write()  # both together
        completer.write()  # each by itself
        assert (gone, len(completer)) == ([written], 1)
        assert completer.wait_s > 0
        assert "completion.refused" in {line["event"] for line in told}
        store.connection.execute("drop trigger refuses on scheduled_tasks")
        wait_until(lambda: not completer.wait_s)
        completer.write()
        assert (gone, len(completer)) == ([written, refused], 0)


def completer_of(session: Session, let_go: Callable[[Held], None]) -> Completer:
    def answered(runs: Sequence[Run], _receipt: Receipt) -> None:
        for run in runs:
            let_go(run.finished.execution)

    return Completer(
        session,
        Writer("p", timedelta(seconds=1)),
        tasks={"t": nothing},
        clock=Clock(),
        answered=answered,
        teller=Teller(
            Logger(), Clock(), failures_level=logging.WARNING, max_crashes=5, mask=NO_MASK
        ),
    )


def failed(held: Held) -> Run:
    finished = Finished(held, Failed(ValueError("no"), "", "ValueError: no"), 0.0, 0.0)
    return Run(finished, Decided(Reschedule(held, timedelta(0), has_succeeded=False)))


def succeeded(held: Held, *followups: NewExecution) -> Run:
    finished = Finished(held, SUCCEEDED, 0.0, 0.0, followups)
    return Run(finished, Decided(Delete(held, followups)))
