"""What the web application does: it writes its own tables and schedules tasks, in one transaction."""

from __future__ import annotations

import csv
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from examples.shop import tasks
from pgsched import Client

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    Connection = psycopg.Connection[Any]


class Order(NamedTuple):
    """What a customer sends; without a card, the customer pays by bank transfer."""

    email: str
    cents: int
    card: str | None
    pay_within: timedelta = timedelta(hours=1)


def place_order(connection: Connection, order: Order) -> int:
    """The order and its charge: both exist, or neither. Answers the order's number."""
    with connection.transaction():
        [(number,)] = connection.execute(
            """
            insert into orders (email, cents, card, pay_by)
            values (%s, %s, %s, now() + %s) returning id
            """,
            order,
        )
        if order.card:
            Client(connection).schedule(
                tasks.charge_card,
                f"order-{number}",
                {"order": number},
                priority=tasks.URGENT,
            )
    return int(number)


def import_catalogue(connection: Connection, file: Path) -> int:
    """One task for each row of a CSV file, all in one transaction: a file is imported whole or not at all.

    Called again for the same file it schedules what is not waiting already. Answers how many were new.
    """
    with file.open(newline="", encoding="utf-8") as lines, connection.transaction():
        return Client(connection).schedule_many(
            (tasks.import_row, row["sku"], row) for row in csv.DictReader(lines)
        )
