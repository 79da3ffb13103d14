"""The shop's tasks, for `pgsched worker --config examples/shop/pgsched.yaml`.

A task runs at least once: its worker may be killed after the work, before that is written down. So each task says what
makes a second run harmless, and finishes what a first one began.
"""

import json
import os
import smtplib
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from email.message import EmailMessage
from http.client import HTTPConnection
from pathlib import Path

import psycopg
from psycopg_pool import ConnectionPool

from pgsched import (
    Cron,
    Every,
    ExecutionContext,
    ExponentialBackoff,
    Failure,
    FailureHandler,
    GiveUp,
    InvalidData,
    RetryAt,
    RetryIn,
    one_time,
    recurring,
)

GATEWAY = os.environ.get("SHOP_GATEWAY", "127.0.0.1:8431")
MAIL_PORT = int(os.environ.get("SHOP_MAIL_PORT", "8025"))
PATIENCE_S = 5.0

URGENT = 10
"""Customers wait for their payments; an import of thousands of rows must not stand in their way."""


# How failures are met


class CardDeclined(Exception):
    """The bank said no."""


class GatewayBusy(Exception):
    """Nobody said anything: asking again may help."""


BACKOFF = ExponentialBackoff(timedelta(milliseconds=300), max_retries=4)


def backoff_unless(*hopeless: type[Exception]) -> FailureHandler:
    """Retry with backoff, but give up at once on errors that another run can't mend."""

    def decide(failure: Failure) -> RetryIn | RetryAt | GiveUp:
        return GiveUp() if isinstance(failure.error, hopeless) else BACKOFF(failure)

    return decide


# Orders


@dataclass(frozen=True)
class Charge:
    """What charge-card takes. Amount and card are read when it runs: by then they may have changed."""

    order: int


@one_time("charge-card", on_failure=backoff_unless(CardDeclined))
def charge_card(data: Charge, context: ExecutionContext) -> None:
    """Run twice: the gateway knows the idempotency key, the payment is there already, the mail is scheduled once."""
    with shop_database() as shop:
        [(email, cents, card)] = shop.execute(
            "select email, cents, card from orders where id = %s", (data.order,)
        )
    try:
        reference = ask_gateway(context.task_instance, cents, card)
    except CardDeclined:
        with shop_database() as shop:
            shop.execute("update orders set state = 'declined' where id = %s", (data.order,))
        raise
    with shop_database() as shop:
        shop.execute(
            "insert into payments (order_id, reference) values (%s, %s) on conflict do nothing",
            (data.order, reference),
        )
        shop.execute("update orders set state = 'paid' where id = %s", (data.order,))
    # Written with this run's success: a crash between the charge and this line breaks no chain.
    context.schedule(
        send_confirmation,
        context.task_instance,
        {"order": data.order, "email": email, "cents": cents},
        priority=URGENT,
    )


def ask_gateway(idempotency_key: str, cents: int, card: str) -> str:
    """Charge a card, once for each key. Answers the gateway's reference. Raises: CardDeclined, GatewayBusy."""
    with closing(HTTPConnection(GATEWAY, timeout=PATIENCE_S)) as gateway:
        body = json.dumps({"card": card, "cents": cents})
        gateway.request("POST", "/charges", body, {"Idempotency-Key": idempotency_key})
        answer = gateway.getresponse()
        said = json.load(answer)
    match answer.status:
        case 201:
            return str(said["reference"])
        case 402:
            raise CardDeclined(said["error"])
        case _:
            raise GatewayBusy(said["error"])


@dataclass(frozen=True)
class Confirmation:
    order: int
    email: str
    cents: int


@one_time("send-confirmation", on_failure=BACKOFF)
def send_confirmation(data: Confirmation) -> None:
    """Run twice: the row says that the mail has gone. Killed in between: it goes twice, with one Message-ID."""
    with shop_database() as shop:
        marked = shop.execute(
            "insert into mails (order_id) values (%s) on conflict do nothing", (data.order,)
        )
        if marked.rowcount:
            with smtplib.SMTP("127.0.0.1", MAIL_PORT, timeout=PATIENCE_S) as server:
                server.send_message(confirmation_of(data))


def confirmation_of(data: Confirmation) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "orders@shop.example"
    mail["To"] = data.email
    mail["Subject"] = f"Your order {data.order}"
    mail["Message-ID"] = f"<order-{data.order}@shop.example>"
    mail.set_content(f"Thank you! We have received your {data.cents / 100:.2f} euros.\n")
    return mail


@recurring("expire-unpaid-orders", schedule=Every(seconds=1))
async def expire_unpaid_orders(context: ExecutionContext) -> None:
    """Run twice: finds nothing the second time."""
    async with await psycopg.AsyncConnection.connect(conninfo()) as shop:
        expired = await shop.execute(
            "update orders set state = 'expired' where state = 'open' and pay_by < now() returning id"
        )
        if orders := [order for (order,) in await expired.fetchall()]:
            context.log.info("orders.expired", orders=orders)


@recurring("sales-report", schedule=Cron("0 7 * * MON-FRI", timezone="Europe/Rome"))
def sales_report(context: ExecutionContext) -> None:
    """Run twice: reads only."""
    with shop_database() as shop:
        for state, orders, cents in shop.execute(
            "select state, count(*), sum(cents) from orders group by state order by state"
        ):
            context.log.info("sales.reported", state=state, orders=orders, euros=cents / 100)


@dataclass(frozen=True)
class NewCard:
    order: int
    card: str


@one_time("change-card")
def change_card(data: NewCard, context: ExecutionContext) -> None:
    """Run twice: writes the same again. The failed charge stays for the record; this schedules another."""
    with shop_database() as shop:
        shop.execute(
            "update orders set card = %s, state = 'open' where id = %s and state = 'declined'",
            (data.card, data.order),
        )
    context.schedule(charge_card, f"order-{data.order}", {"order": data.order}, priority=URGENT)


# The catalogue


@dataclass(frozen=True)
class Product:
    """A row of the CSV file: text as it stands there, made into this type before the task is called."""

    sku: str
    name: str
    price: Decimal
    stock: int


@one_time("import-row", on_failure=backoff_unless(InvalidData))
def import_row(data: Product) -> None:
    """Run twice: counted, but the product and its stock are there once."""
    with shop_database() as shop:
        shop.execute(
            """
            insert into products (sku, name, price, stock) values (%s, %s, %s, %s)
            on conflict (sku) do update set runs = products.runs + 1
            """,
            (data.sku, data.name, data.price, data.stock),
        )


# The shop's database


def conninfo() -> str:
    """The demo's embedded Postgres, of which pgsched notes the socket. A shop of yours reads its own setting here."""
    return f"host={Path('.demo/postgres/socket').read_text()} user=postgres dbname=postgres"


pool = ConnectionPool(conninfo, max_size=10, open=False)
"""Opened by the first task of each poller: this module is imported before the pollers fork, no connection may be."""


@contextmanager
def shop_database() -> Generator[psycopg.Connection]:
    """A connection in a transaction of its own."""
    pool.open()
    with pool.connection() as connection:
        yield connection
