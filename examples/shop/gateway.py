"""A payment gateway as they are: slow, often busy, and the only one who knows whether money has moved.

How often it is busy for a charge depends on a seed and the idempotency key alone: each demo is the same.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler
from threading import Lock

from examples.shop.loopback import LoopbackServer

GOOD, DECLINED, SILENT = "4242 4242 4242 4242", "4000 0000 0000 0002", "4000 0000 0000 0119"
"""A card with money, one without, and one whose bank never answers."""

TIMES_BUSY = (0, 0, 0, 1, 1, 2, 3)
"""One of these for each charge: fewer than the task's retries, so that every good card is charged in the end."""

DELAY_S = 0.03


class Gateway(LoopbackServer):
    """`POST /charges` answers 201 with a reference, 402 for ever, or 503 for now."""

    def __init__(self, port: int = 0, *, seed: int = 1) -> None:
        super().__init__(_Request, port)
        self.charged: dict[str, int] = {}
        self._seed = seed
        self._asked: Counter[str] = Counter()
        self._lock = Lock()

    def charge(self, key: str, card: str, cents: int) -> tuple[int, dict[str, str]]:
        """A status and what to say. A key that has been charged gets its answer again, and is charged no more."""
        with self._lock:
            self._asked[key] += 1
            if card == DECLINED:
                return 402, {"error": "insufficient funds"}
            times_busy = random.Random(f"{self._seed} {key}").choice(TIMES_BUSY)
            if key not in self.charged and (card == SILENT or self._asked[key] <= times_busy):
                return 503, {"error": "the bank does not answer"}
            self.charged.setdefault(key, cents)
            return 201, {"reference": f"ch-{key}"}


class _Request(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        time.sleep(DELAY_S)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Idempotency-Key"]
        status, answer = self.server.charge(key, body["card"], body["cents"])
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        """The demo tells the story."""
