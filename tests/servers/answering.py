"""A small HTTP server on loopback that a fake answers by."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    method: str
    host: str  # without the port
    port: str  # with the colon; empty where the call names none
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lowercase
    content: bytes

    def members(self) -> dict[str, object]:
        """The JSON object of the content; an empty one where there is none."""
        try:
            members = json.loads(self.content)
        except ValueError:
            return {}
        return members if isinstance(members, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    status: int = 200
    members: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def answering(
    answer: Callable[[Call], Reply], context: ssl.SSLContext | None = None
) -> Iterator[int]:
    """The port where each call is answered by `answer`, one at a time; by TLS with a context."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_one_call(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            parts = urlsplit(self.path)
            host, colon, port = (self.headers.get("host") or "").partition(":")
            call = Call(
                method=self.command,
                host=host,
                port=f"{colon}{port}",
                path=unquote(parts.path),
                query=dict(parse_qsl(parts.query)),
                headers={name.lower(): text for name, text in self.headers.items()},
                content=content,
            )
            with lock:
                reply = answer(call)
            body = json.dumps(reply.members).encode()
            self.send_response(reply.status)
            for name, text in {"content-type": "application/json", **reply.headers}.items():
                self.send_header(name, text)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one_call  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing: what is asked for may be secret."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
