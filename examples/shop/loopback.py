"""A small server on 127.0.0.1, in threads of its own: what the gateway and the mail sink have in common."""

from __future__ import annotations

import sys
from socketserver import ThreadingTCPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from socketserver import BaseRequestHandler

LOOK_S = 0.05


class LoopbackServer(ThreadingTCPServer):
    """Serves within its `with`; port 0 takes any that is free."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 100  # with the usual 5, the sixth of several at once waits a second

    def __init__(self, handler: type[BaseRequestHandler], port: int) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.port = int(self.server_address[1])
        self.address = f"127.0.0.1:{self.port}"
        self._thread = Thread(target=self.serve_forever, args=(LOOK_S,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed in the middle of a sentence is part of the demo."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
