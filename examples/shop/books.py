"""What must be true at closing time: counted in the database, at the gateway and in the mailbox."""

from __future__ import annotations

import csv
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from examples.shop import tasks
from examples.shop.gateway import DECLINED, GOOD, SILENT
from examples.shop.make_catalogue import WRONG
from pgsched import Client, State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import psycopg

    from examples.shop.gateway import Gateway
    from examples.shop.mail_sink import MailSink
    from examples.shop.store import Order

    Connection = psycopg.Connection[Any]

ONE_TIME = (tasks.charge_card, tasks.send_confirmation, tasks.import_row)


class Line(NamedTuple):
    """Something counted, and how much of it there must be."""

    what: str
    counted: int
    expected: int


def waiting(connection: Connection) -> int:
    """Of how many tasks some execution has neither succeeded nor failed for good."""
    client = Client(connection)
    firsts = (first for task in ONE_TIME for first in client.list(task=task, limit=1))
    return sum(first.state is not State.FAILED for first in firsts)


def is_all_done(connection: Connection) -> bool:
    """Nothing is left but what recurs, and no order waits for a transfer any more."""
    transfers = connection.execute(
        "select count(*) from orders where state = 'open' and card is null"
    ).fetchone()
    return transfers == (0,) and not waiting(connection)


def is_importing(connection: Connection, poller: str) -> bool:
    """Whether a poller has rows of the catalogue in its hands."""
    running = Client(connection).list(task=tasks.import_row, state=State.RUNNING)
    return any(execution.picked_by == poller for execution in running)


def rows_run_twice(connection: Connection) -> int:
    """Of how many rows the work was done again, because a poller died before it was written down."""
    [(rows,)] = connection.execute("select count(*) from products where runs > 1")
    return int(rows)


def balance(
    connection: Connection,
    gateway: Gateway,
    mail_sink: MailSink,
    orders: Sequence[Order],
    catalogue: Path,
) -> list[Line]:
    """What has become of the orders and the rows, beside what they were."""
    cards = Counter(order.card for order in orders)
    states = Counter(state for (state,) in connection.execute("select state from orders"))
    with catalogue.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["sku"] not in WRONG]
    [(products, stock)] = connection.execute(
        "select count(*), coalesce(sum(stock), 0) from products"
    )
    failed = Client(connection).list(state=State.FAILED)
    return [
        Line("orders paid", states["paid"], cards[GOOD]),
        Line("orders declined", states["declined"], cards[DECLINED]),
        Line("orders expired", states["expired"], cards[None]),
        Line("orders open, their bank never answered", states["open"], cards[SILENT]),
        Line("charges at the gateway, one an order", len(gateway.charged), cards[GOOD]),
        Line("mails arrived, one an order", len(mail_sink.mails), cards[GOOD]),
        Line("rows of the catalogue imported", products, len(rows)),
        Line("pieces in stock, each row counted once", stock, sum(int(r["stock"]) for r in rows)),
        Line("failed executions, kept", len(failed), cards[DECLINED] + cards[SILENT] + len(WRONG)),
        Line("tasks with something left to run", waiting(connection), 0),
    ]
