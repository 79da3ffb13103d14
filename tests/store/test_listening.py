"""What a listener makes of what it hears: from schedulers, and from anybody who may notify."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pgsched.store.connecting import connect
from pgsched.store.listening import ANY_LEVEL, MOST_LEVELS, NO_PRIORITY, NOW, Hint, Listener
from pgsched.worker.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.store.acting import Store


@pytest.fixture
def listener(store: Store) -> Generator[Listener]:
    listener = Listener(connect(store.conninfo), store.names, Guard())
    yield listener
    listener.close()


def notify(store: Store, *payloads: str) -> None:
    with psycopg.connect(store.conninfo) as connection:
        for payload in payloads:
            connection.execute("select pg_notify(%s, %s)", (store.names.channel, payload))


@pytest.mark.parametrize(
    ("payload", "hint"),
    [
        ("1764000000.25 -", Hint(1764000000.25, NO_PRIORITY)),
        ("1764000000.25 -5", Hint(1764000000.25, -5)),
        ("1764000000 0", Hint(1764000000, 0)),
        ("-1764000000", Hint(-1764000000, ANY_LEVEL)),
        ("", NOW),
        ("Infinity -", NOW),
        ("nan", NOW),
        ("1e300 1", NOW),
        ("1764000000.25 " + "9" * 4000, NOW),
        ("1764000000.25 1 2", NOW),
    ],
)
def test_a_payload_says_when_and_where_and_whatever_else_it_says_means_now(
    store: Store, listener: Listener, payload: str, hint: Hint
) -> None:
    notify(store, payload)
    listener.probe()
    assert listener.hear() == [hint]


def test_of_each_level_the_soonest_is_heard(store: Store, listener: Listener) -> None:
    notify(store, "30 1", "20 1", "25 1", "50 -", "40 -", "99")
    listener.probe()
    assert set(listener.hear()) == {Hint(20, 1), Hint(40, NO_PRIORITY), Hint(99)}


def test_too_many_levels_at_once_are_heard_as_any(store: Store, listener: Listener) -> None:
    notify(store, *(f"{1000 - n} {n}" for n in range(MOST_LEVELS + 1)))
    listener.probe()
    assert listener.hear() == [Hint(1000 - MOST_LEVELS)]
