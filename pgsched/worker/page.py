"""HTTP for a worker's health and metrics: a few pages, read only, for whoever can reach the port.

Trusts nobody: a request has so many bytes and so many seconds, and only so many are answered at a time.
"""

from __future__ import annotations

import hmac
import io
import socket
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, NamedTuple

from pgsched.worker.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REQUEST_S = 3.0
LONGEST_HEAD_BYTES = 8192
MOST_AT_A_TIME = 16
"""Prometheus, a kubelet and a person or two. One more, and the oldest is hung up on: an honest one is answered within
milliseconds, and a stranger who opens many and says nothing must not keep a kubelet from asking."""

BLANK_LINE = b"\r\n\r\n"


class Page(NamedTuple):
    """An answer."""

    status: HTTPStatus
    body: bytes
    content_type: str = "application/json"


class Site(NamedTuple):
    """What there is to read, by path; each page is made for one who accepts so and so."""

    pages: Mapping[str, Callable[[str], Page]]
    guarded: str
    """The path for which the token is asked."""
    token: str | None


class Server(ThreadingMixIn, TCPServer):
    """Listens as soon as it is made, each request on a thread. Raises: OSError."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, site: Site) -> None:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self.address_family = family
        self.site = site
        self._places = threading.BoundedSemaphore(MOST_AT_A_TIME)
        self._open: dict[socket.socket, None] = {}
        super().__init__(address, Handler)  # type: ignore[arg-type]  # of IPv6 has four parts

    def process_request(self, request: Any, client_address: Any) -> None:
        """On a thread."""
        if not self._places.acquire(blocking=False):
            self._hang_up_on_oldest()
            self._places.acquire()
        self._open[request] = None
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._leave(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._leave(request)

    def _hang_up_on_oldest(self) -> None:
        """Its thread finds that nothing more comes, or goes, and ends."""
        for oldest in list(self._open)[:1]:
            with suppress(OSError):  # it has been answered just now
                oldest.shutdown(socket.SHUT_RDWR)

    def _leave(self, request: socket.socket) -> None:
        self._open.pop(request, None)
        self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who hangs up in the middle is no news."""


class Handler(BaseHTTPRequestHandler):
    """One request, one answer."""

    server: Server
    server_version = "pgsched"
    sys_version = ""
    timeout = REQUEST_S

    def setup(self) -> None:
        """Reads all of the head first: the standard library's parser waits for each line as long as for the first."""
        super().setup()
        self.rfile = io.BufferedReader(io.BytesIO(self._head()))

    def _head(self) -> bytes:
        ends_at = monotonic() + REQUEST_S
        head = b""
        while BLANK_LINE not in head and len(head) < LONGEST_HEAD_BYTES:
            self.connection.settimeout(max(0.001, ends_at - monotonic()))
            part = self.connection.recv(LONGEST_HEAD_BYTES - len(head))
            if not part:
                break
            head += part
        if BLANK_LINE not in head:
            raise OSError("no request")
        self.connection.settimeout(REQUEST_S)
        return head.partition(BLANK_LINE)[0] + BLANK_LINE

    def do_GET(self) -> None:
        """As the standard library calls it."""
        self._answer(self._page())

    do_HEAD = do_GET  # noqa: N815 as the standard library calls it

    def send_error(
        self,
        code: int,
        message: str | None = None,  # noqa: ARG002 quotes what was sent
        explain: str | None = None,  # noqa: ARG002 the standard library's words
    ) -> None:
        """As the standard library calls it for what it doesn't understand, which it would tell in HTML."""
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:  # a method that isn't here
            status = HTTPStatus.METHOD_NOT_ALLOWED
        self._answer(Page(status, f"{status.phrase.lower()}\n".encode(), "text/plain"))

    def _answer(self, page: Page) -> None:
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        if page.status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        if page.status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    def _page(self) -> Page:
        site = self.server.site
        path = self.path.partition("?")[0]
        make = site.pages.get(path)
        if make is None:
            known = f"not found; there is {', '.join(site.pages)}\n"
            return Page(HTTPStatus.NOT_FOUND, known.encode(), "text/plain")
        if path == site.guarded and not self._has_token(site.token):
            return Page(HTTPStatus.UNAUTHORIZED, b"the token is missing or wrong\n", "text/plain")
        return make(self.headers.get("Accept", ""))

    def _has_token(self, token: str | None) -> bool:
        if token is None:
            return True
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        is_same = hmac.compare_digest(given.strip().encode(), token.encode())
        return is_same and scheme.lower() == "bearer"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: who asks does so every few seconds."""
