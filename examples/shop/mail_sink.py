"""A mail server that speaks SMTP (RFC 5321, as far as clients need it) and keeps each mail as a file.

Never sends anything anywhere.
"""

from __future__ import annotations

import re
from email import message_from_bytes
from socketserver import StreamRequestHandler
from typing import TYPE_CHECKING

from examples.shop.loopback import LoopbackServer

if TYPE_CHECKING:
    from pathlib import Path

ANSWERS = {
    "EHLO": "250 mail.shop.example",
    "HELO": "250 mail.shop.example",
    "MAIL": "250 sender taken",
    "RCPT": "250 recipient taken",
    "DATA": "354 end with a dot on a line of its own",
    "RSET": "250 forgotten",
    "NOOP": "250 still here",
    "QUIT": "221 bye",
}


class MailSink(LoopbackServer):
    """Mails land in `folder`, named by their Message-ID: one that comes twice is one mail."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(_Conversation, port)
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def mails(self) -> set[str]:
        """The names of what has arrived."""
        return {file.stem for file in self._folder.glob("*.eml")}

    def keep(self, mail: bytes) -> None:
        name = re.sub(r"[^\w.@-]", "", str(message_from_bytes(mail)["Message-ID"]))
        (self._folder / f"{name}.eml").write_bytes(mail)


class _Conversation(StreamRequestHandler):
    server: MailSink

    def handle(self) -> None:
        self._say("220 mail.shop.example")
        for line in self.rfile:
            verb = line[:4].decode("ascii", "replace").upper()
            self._say(ANSWERS.get(verb, "502 unknown command"))
            if verb == "DATA":
                self.server.keep(self._read_mail())
                self._say("250 kept")
            if verb == "QUIT":
                return

    def _read_mail(self) -> bytes:
        """The lines up to a lone dot; the sender has doubled a dot that begins a line. Raises: ConnectionError."""
        mail: list[bytes] = []
        for line in self.rfile:
            if line == b".\r\n":
                return b"".join(mail)
            mail.append(line.removeprefix(b"."))
        raise ConnectionError("the sender is gone in the middle of a mail")

    def _say(self, answer: str) -> None:
        self.wfile.write(f"{answer}\r\n".encode())
