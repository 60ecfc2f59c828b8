"""A client that carries load: calls over a few connections that are kept, from one event loop.

What it asks may die and come back at another port at any moment; then calls have no answer.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CONNECTIONS = 16
ANSWER_SECONDS = 20.0

# What a caller sees of a server that dies.
LOST = (OSError, EOFError, ValueError, IndexError, asyncio.TimeoutError)


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer that arrived whole."""

    status: int
    body: Any = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Line:
    """A connection to the server at one port; None while there is none."""

    port: int = 0
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def hang_up(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None


class Wire:
    """All calls of a trial. `port` is where the server is at present."""

    def __init__(self) -> None:
        self.port = 0
        self.unanswered = 0
        self.refused_503 = 0
        self._free: asyncio.Queue[_Line] = asyncio.Queue()
        self._lines = [_Line() for _ in range(CONNECTIONS)]
        for line in self._lines:
            self._free.put_nowait(line)

    async def call(
        self, method: str, path: str, token: str, body: object = None, **headers: str
    ) -> Heard | None:
        """The answer; None where none arrived, or the server said that it has none now."""
        payload = b"" if body is None else json.dumps(body).encode()
        head = [
            f"{method} {path} HTTP/1.1",
            "Host: keyturn",
            f"Authorization: Bearer {token}",
            f"Content-Length: {len(payload)}",
            *(["Content-Type: application/json"] if payload else []),
            *(f"{name}: {text}" for name, text in headers.items()),
        ]
        spelled = "\r\n".join([*head, "", ""]).encode() + payload
        line = await self._free.get()
        try:
            heard = await asyncio.wait_for(self._ask(line, spelled), ANSWER_SECONDS)
        except LOST:
            line.hang_up()
            self.unanswered += 1
            return None
        except BaseException:
            line.hang_up()
            raise
        finally:
            self._free.put_nowait(line)
        if heard.status == 503:
            self.refused_503 += 1
            return None
        return heard

    def close(self) -> None:
        for line in self._lines:
            line.hang_up()

    async def _ask(self, line: _Line, spelled: bytes) -> Heard:
        if line.streams is None or line.port != self.port:
            line.hang_up()
            line.port = self.port
            line.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = line.streams
        writer.write(spelled)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {}
        for one in head[1:-2]:
            name, _, text = one.partition(":")
            headers[name.strip().lower()] = text.strip()
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            line.hang_up()
        return Heard(int(head[0].split(" ")[1]), json.loads(raw) if raw else None, headers)
