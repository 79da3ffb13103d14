"""Work that exists if and only if your transaction commits.

DATABASE_URL=postgresql://app@db/app python examples/transactional.py

It needs a database on which `pgsched migrate` has run, and leaves nothing behind there.
"""

import os

import psycopg

from pgsched import Client


def main() -> None:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("create temporary table orders (id int primary key)")
        client = Client(connection)  # whatever it does belongs to the connection's transaction

        with connection.transaction(force_rollback=True):
            place_order(connection, client)
        print("rolled back:", counts(connection, client))

        with connection.transaction():
            place_order(connection, client)
        print("committed:  ", counts(connection, client))

        client.cancel("print-invoice", "order-17")


def place_order(connection: psycopg.Connection, client: Client) -> None:
    connection.execute("insert into orders values (17)")
    client.schedule("print-invoice", "order-17", {"order": 17})


def counts(connection: psycopg.Connection, client: Client) -> str:
    orders = connection.execute("select from orders").rowcount
    return f"{orders} order(s), {len(client.list(task='print-invoice'))} execution(s)"


if __name__ == "__main__":
    main()
