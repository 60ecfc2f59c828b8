"""A receiver of webhooks on this machine's loopback, which keeps what it was sent. The public
library of the format is the judge of it."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook

Answer = Callable[["Received"], int]


@dataclass(frozen=True, kw_only=True)
class Received:
    """One message as it came in."""

    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def payload(self) -> Any:
        return json.loads(self.body)

    @property
    def event(self) -> str:
        return str(self.payload["type"])

    @property
    def subject(self) -> str:
        data = self.payload["data"]
        return f"{data['resource_type']}/{data['resource_id']}"

    def verify(self, secret: str) -> Any:
        """What the public library makes of it now. Raises where it is not genuine or not fresh."""
        return Webhook(secret).verify(self.body, dict(self.headers))

    def is_signed_with(self, secret: str) -> bool:
        """Whether one of its signatures is the public library's own for the time that it says."""
        at = datetime.fromtimestamp(int(self.headers["webhook-timestamp"]), UTC)
        own = Webhook(secret).sign(self.id, at, self.body.decode())
        return own in self.headers["webhook-signature"].split(" ")


class Receiver:
    """Listens on a port that stays its own while it is shut. `answer` says what it answers."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answer: Answer = lambda _: 204
        self.headers: dict[str, str] = {}
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self.open()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/hook"

    def open(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    self.close_connection = True
                    return  # whoever sent it was killed in the middle
                headers = {name.lower(): value for name, value in self.headers.items()}
                received = Received(headers=headers, body=body)
                status = outer.answer(received)
                if 200 <= status < 300:
                    outer.received.append(received)
                self.send_response(status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def shut(self) -> None:
        """Takes no connection any more, until it is opened again."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def close(self) -> None:
        self.shut()
