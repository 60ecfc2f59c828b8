"""Commands that call a running Keyturn: on terminals, with streams of all kinds."""

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.cli.programs import PATIENCE_SECONDS, PROGRAM, Finished, Place, Server

SIZE_BYTES = 65_536
# Of a new session: what is typed there ends it, as it does for a person.
_ON_TERMINAL = """
import fcntl, signal, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.default_int_handler)
from keyturn.cli import main
main()
"""


@dataclass
class House:
    """An installation, its server, and the folder of somebody who calls it."""

    place: Place
    server: Server

    def run(self, *arguments: str, **settings: str) -> Finished:
        return self.place.run(*arguments, **settings)

    def make(self, name: str, *options: str) -> str:
        """The id of a new key."""
        file = self.place.folder / f"{name}-{time.monotonic_ns()}.token"
        made = self.run("keys", "create", name, "-q", "--output", file.name, *options).done()
        return made.output.strip()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        status, answer = self.server.call(method, path, self.place.token, body)
        assert status < 300, answer
        return answer

    def names(self, status: str = "active") -> list[str]:
        return [one["name"] for one in self.ask("GET", f"/v1/api-keys?status={status}&limit=1000")]


@contextmanager
def house_in(place: Place) -> Iterator[House]:
    """An installation, served."""
    server = place.serve()
    place.settings |= {
        "KEYTURN_URL": server.url,
        "KEYTURN_API_KEY_FILE": str(place.home / "operator.token"),
    }
    yield House(place, server)


@dataclass
class Terminal:
    """A command on a terminal of its own: standard input, output and errors."""

    process: "subprocess.Popen[bytes]"
    master: int
    seen: bytearray = field(default_factory=bytearray)

    def read(self, until: str | None = None) -> str:
        """What stands on it, until the text is there or the command has ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if until is not None and until in self.text:
                return self.text
            if not select.select([self.master], [], [], 0.1)[0]:
                continue
            try:
                part = os.read(self.master, SIZE_BYTES)
            except OSError:  # Linux: EIO, once nobody has the other side
                part = b""
            if not part:
                return self.text
            self.seen += part
        raise AssertionError("it does not end, or does not say what it should")

    @property
    def text(self) -> str:
        return self.seen.decode().replace("\r\n", "\n")

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def hang_up(self) -> None:
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def end(self) -> tuple[int, str]:
        self.read()
        return self.process.wait(PATIENCE_SECONDS), self.text


@contextmanager
def terminal(
    place: Place, *arguments: str, columns: int = 80, **settings: str
) -> Iterator[Terminal]:
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {"TERM": "xterm-256color"} | place.environment(settings)
    for name in ("COLUMNS", "NO_COLOR"):
        if name not in settings:
            environment.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-c", _ON_TERMINAL, *arguments],
        cwd=place.folder,
        env=environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown = Terminal(process, master)
    try:
        yield shown
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        shown.hang_up()


def in_shell(place: Place, command: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """A shell's line, in which `$@` is the command `keyturn` by itself."""
    return subprocess.run(
        ["sh", "-c", command, "sh", *PROGRAM],
        cwd=place.folder,
        env=place.environment(settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


Answers = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def answering(answers: Answers) -> Iterator[str]:
    """The address of a server that answers every request so."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answers(self)

        do_POST = do_PATCH = do_DELETE = do_PUT = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(
    handler: BaseHTTPRequestHandler, status: int, media_type: str, content: bytes, **headers: str
) -> None:
    handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
    handler.send_response(status)
    handler.send_header("Content-Type", media_type)
    handler.send_header("Content-Length", str(len(content)))
    for name, text in headers.items():
        handler.send_header(name, text)
    handler.end_headers()
    handler.wfile.write(content)


def place_at(folder: Path, url: str, token: str) -> Place:
    """A caller's folder, with a token, who calls this address."""
    (folder / "own.token").write_text(token)
    return Place(folder, settings={"KEYTURN_URL": url, "KEYTURN_API_KEY_FILE": "own.token"})
