"""The shop from set-up to closing time in some ten seconds: it sells, imports a catalogue, loses a poller, and counts.

Everything is in the folder `.demo` where it is run: a Postgres of its own, the catalogue, the mails. It ends by itself
and leaves no process behind, however it ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import psycopg

from examples.shop import books
from examples.shop.day import Day
from examples.shop.gateway import DECLINED, GOOD, SILENT, Gateway
from examples.shop.mail_sink import MailSink
from examples.shop.make_catalogue import make_catalogue
from examples.shop.store import Order
from examples.shop.story import Story
from examples.shop.worker import Worker
from pgsched import PgschedError
from pgsched.embedded import embedded_server

if TYPE_CHECKING:
    from collections.abc import Generator

    from examples.shop.books import Connection, Line

HERE = Path(__file__).parent
CONFIG = os.path.relpath(HERE / "pgsched.yaml")
FOLDER = Path(".demo")
CATALOGUE = FOLDER / "catalogue.csv"
MAILS = FOLDER / "mails"

POLLERS = 2
PATIENCE_S = 55
STOP_PATIENCE_S = 5.0

CARDS = {
    "ada": GOOD,
    "barbara": GOOD,
    "claude": None,
    "donald": GOOD,
    "edsger": GOOD,
    "frances": DECLINED,
    "grace": GOOD,
    "ken": GOOD,
    "leslie": SILENT,
    "margaret": GOOD,
    "niklaus": None,
    "radia": GOOD,
}
IN_AN_HOUR, IN_A_MOMENT = timedelta(hours=1), timedelta(seconds=3)
ORDERS = [
    Order(f"{name}@example.com", 1_000 + 350 * number, card, IN_AN_HOUR if card else IN_A_MOMENT)
    for number, (name, card) in enumerate(CARDS.items())
]

OTHERS = """
select count(*) from pg_stat_activity where application_name <> '' and pid <> pg_backend_pid()
"""
"""Workers name their connections; so does this demo."""

NEXT = f"""
  export PGSCHED_CONFIG={CONFIG} PATH={os.path.relpath(Path(sys.executable).parent)}:$PATH

  pgsched list                         # what recurs goes on when a worker is there
  pgsched list --state failed --json   # with the traceback
  cat {MAILS}/order-1@shop.example.eml
  pgsched discard import-row NT-0666
  pgsched retry charge-card order-9    # its bank is as silent as before: see the backoff
  pgsched schedule change-card order-6 --data '{{"order": 6, "card": "{GOOD}"}}'
  pgsched reschedule sales-report default --now

  python -m examples.shop.services &   # the gateway and the mail server; kill %1 ends them
  pgsched dev                          # runs all of that; kill -9 one of its pollers; Ctrl-C
"""


class Trouble(Exception):
    """The demo can't go on."""


def main() -> int:
    """0 if all numbers were right, 1 if not or if something went wrong, 130 after Ctrl-C."""
    story = Story()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, _give_up)
    signal.alarm(PATIENCE_S)
    _forget_settings()
    try:
        return 0 if play(story) else 1
    except (Trouble, PgschedError, OSError, psycopg.Error, subprocess.SubprocessError) as error:
        story.show(f"The demo has failed: {error}", "red")
        return 1
    except KeyboardInterrupt:
        story.show("Interrupted: everything has been stopped.")
        return 130


def play(story: Story) -> bool:
    """Whether all numbers were right."""
    with (
        postgres() as conninfo,
        psycopg.connect(conninfo, autocommit=True, application_name="demo") as connection,
    ):
        story.title("Set-up")
        set_up(connection, story)
        with Gateway() as gateway, MailSink(MAILS) as mail_sink:
            day = live(connection, gateway, mail_sink, story)
            story.title("What had to come out")
            is_right = tell_balance(
                books.balance(connection, gateway, mail_sink, ORDERS, CATALOGUE), story
            )
        story.show(
            f"  {day.retried} runs failed and were retried with backoff. The killed poller held"
            f" {day.recovered} executions;\n  {books.rows_run_twice(connection)} of their rows were"
            " in the catalogue already and came again: harmless, see import_row in tasks.py."
        )
        story.title(f"$ pgsched list --state failed --config {CONFIG}")
        story.show(pgsched("list", "--state", "failed"))
    if is_right:
        story.title("What to try next")
        story.show(NEXT)
    story.show(f"{'All is well' if is_right else 'NOT ALL IS WELL'}, after {story.lasted_s:.0f} s.")
    return is_right


@contextmanager
def postgres() -> Generator[str]:
    """The embedded server that pgsched.yaml names. It ends by itself after its last user; that is waited for."""
    try:
        with embedded_server(f"embedded:{FOLDER / 'postgres'}") as conninfo:
            yield conninfo
    finally:
        deadline = time.monotonic() + STOP_PATIENCE_S
        while (FOLDER / "postgres/data/postmaster.pid").exists() and time.monotonic() < deadline:
            time.sleep(0.02)


def set_up(connection: Connection, story: Story) -> None:
    """Start anew, whatever an earlier run has left. Raises: Trouble while somebody else uses the server."""
    story.say("shop", f"a Postgres of its own is up in {FOLDER / 'postgres'}")
    if connection.execute(OTHERS).fetchone() != (0,):
        raise Trouble(f"another demo or worker uses {FOLDER / 'postgres'}: end it first")
    shutil.rmtree(MAILS, ignore_errors=True)
    connection.execute("drop schema public cascade")
    connection.execute("create schema public")
    connection.execute((HERE / "schema.sql").read_bytes())
    story.say("shop", "has made its tables: orders, payments, mails, products")
    pgsched("migrate")
    story.say("shop", f"$ pgsched migrate --config {CONFIG}")
    make_catalogue(CATALOGUE)
    story.say("shop", f"the supplier has sent {CATALOGUE}")


def live(connection: Connection, gateway: Gateway, mail_sink: MailSink, story: Story) -> Day:
    """Run a worker for a day. Raises: Trouble where it ends badly."""
    story.title(f"$ pgsched worker --config {CONFIG}")
    environment = {"SHOP_GATEWAY": gateway.address, "SHOP_MAIL_PORT": str(mail_sink.port)}
    with Worker(CONFIG, environment) as worker:
        day = Day(connection, worker, story)
        day.live(ORDERS, CATALOGUE, pollers=POLLERS)
        if status := worker.exit_status():
            raise Trouble(f"the worker has ended with exit status {status}")
    return day


def pgsched(*arguments: str) -> str:
    """What a command prints. Raises: Trouble."""
    command = [sys.executable, "-m", "pgsched", *arguments, "--config", CONFIG]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Trouble(f"pgsched {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.rstrip()


def tell_balance(lines: list[Line], story: Story) -> bool:
    """Whether all is as it must be."""
    for what, counted, expected in lines:
        is_right = counted == expected
        remark = "ok" if is_right else f"WRONG, must be {expected:,}"
        story.show(f"  {what:40}{counted:10,}  {remark}", "green" if is_right else "bold red")
    return all(counted == expected for _, counted, expected in lines)


def _give_up(number: int, _frame: object) -> NoReturn:
    if number == signal.SIGALRM:
        raise Trouble(f"it is not done after {PATIENCE_S} s")
    raise Trouble(f"{signal.Signals(number).name} has come")


def _forget_settings() -> None:
    """What is set for another database must not lead this demo there, nor its libpq to another port."""
    for name in list(os.environ):
        if name == "DATABASE_URL" or (name.startswith("PG") and name != "PGSCHED_PG_BIN"):
            del os.environ[name]
